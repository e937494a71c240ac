package secure

import (
	"context"
	"errors"
	"slices"

	"github.com/cachekit-io/cachekit-go/internal/flight"
)

// GetOrLoadMany returns the values of keys. What is not stored is loaded by a
// call of load with the keys that are missing and that no other caller in this
// process is loading, and stored. A key that load's map does not have is
// ErrAbsent, which is remembered for Options.NegativeTTL.
//
// The load runs apart from its callers, as with GetOrLoad. Where the backend has
// locks it takes those of its keys, so that of all processes one loads each key
// (Options.FillLock): load is called with the keys whose locks it got, and the
// others' values are waited for, by a look at all of them some ten times a second. load
// is called again, after that, with keys that others gave up, and last with those that
// they have not stored within 10 s. So it may be called several times, one after the
// other, each time with other keys. The 5 s for which a lock is held are those of the
// call, however many its keys: what takes longer is better asked for in portions. An
// error of load fails the keys that it was called for; if it panics or calls
// runtime.Goexit, that fails the ones that are waited for too.
//
// Entries that are stale in the process are served as they are. One that the
// backend serves stale (CachekitIO) is served too and loaded anew in the
// background, as by GetOrLoad: load is called for its key alone, by the one process
// that gets its lease, maybe while another call runs. If some keys failed, the
// error is a *BatchError that has the error of each, and the map has all the others.
func (v View[T]) GetOrLoadMany(ctx context.Context, keys []string, load func(ctx context.Context, missing []string) (map[string]T, error)) (map[string]T, error) {
	c := v.cache.core
	out := make(map[string]T, len(keys))
	b := v.cache.batchOf(ctx, "load many", len(keys), slices.Values(keys))
	ctx, o := c.begin(ctx, b.op, "", b.size())
	fills := make(map[string]*filling, len(b.names))
	for _, name := range b.names {
		fills[name] = c.startFill(name, c.ttl)
		defer fills[name].release()
	}
	missing := append(getMany(ctx, c, b, out, true), b.loadable(ctx, c, fills)...)
	for _, i := range b.stale {
		if c.serveStale {
			c.revalidate(ctx, b.names[i], c.ttl, alone(b.keys[i], load))
			continue
		}
		delete(out, b.keys[i])
		missing = append(missing, i)
	}
	names, byName := make([]string, len(missing)), make(map[string]string, len(missing))
	for j, i := range missing {
		names[j] = b.names[i]
		byName[b.names[i]] = b.keys[i]
	}
	outcomes := c.flights.DoMany(ctx, names, func(name string) { fills[name].retain() }, func(ctx context.Context, names []string, settle func(int, flight.Outcome[loaded])) {
		m := &fillingMany{core: c, settle: settle, pending: make([]*filling, len(names))}
		m.load = func(ctx context.Context, names []string) (map[string]any, error) {
			return loadNamed(ctx, names, byName, load)
		}
		for i, name := range names {
			m.pending[i] = fills[name]
			m.pending[i].index = i
			defer fills[name].release()
		}
		m.run(ctx)
	})
	for j, o := range outcomes {
		key := byName[names[j]]
		value, err := decodeLoaded[T](c, o)
		if err != nil {
			b.fail(key, c.loadError(ctx, names[j], err))
			continue
		}
		if out[key] = value; o.Value.stale {
			c.revalidate(ctx, names[j], c.ttl, alone(key, load))
		}
	}
	o.many(len(out), b.failed)
	return out, newBatchError("load many", b.failed)
}

// loadable takes the keys back from the failed ones for which a load may go on:
// those that the backend could not be asked for and, if the options say so,
// those that failed authentication.
func (b *batch) loadable(ctx context.Context, c *core, fills map[string]*filling) (indexes []int) {
	for i, key := range b.keys {
		switch err := b.failed[key]; {
		case errors.Is(err, ErrAuth) && c.recompute:
		case errors.Is(err, ErrUnavailable), errors.Is(err, ErrBackend):
			fills[b.names[i]].outage = errors.Is(err, ErrUnavailable)
			c.absorbed(ctx, "load", b.names[i], err)
		default:
			continue
		}
		fills[b.names[i]].unread = true
		delete(b.failed, key)
		indexes = append(indexes, i)
	}
	return indexes
}

// alone calls the caller's loader for one key.
func alone[T any](key string, load func(context.Context, []string) (map[string]T, error)) produce {
	return func(ctx context.Context) (any, error) {
		values, err := load(ctx, []string{key})
		if err != nil {
			return nil, err
		}
		value, ok := values[key]
		if !ok {
			return nil, ErrAbsent
		}
		return value, nil
	}
}

// loadNamed calls the caller's loader, which knows keys, for storage keys.
func loadNamed[T any](ctx context.Context, names []string, byName map[string]string, load func(context.Context, []string) (map[string]T, error)) (map[string]any, error) {
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = byName[name]
	}
	values, err := load(ctx, keys)
	if err != nil {
		return nil, err
	}
	out := make(map[string]any, len(values))
	for i, name := range names {
		if value, ok := values[keys[i]]; ok {
			out[name] = value
		}
	}
	return out, nil
}

func decodeLoaded[T any](c *core, o flight.Outcome[loaded]) (value T, err error) {
	switch {
	case o.Err != nil:
		return value, o.Err
	case o.Value.doc == nil:
		return value, assign(&value, o.Value.object)
	}
	return value, c.decode(o.Value.doc, &value)
}
