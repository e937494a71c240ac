package secure

import (
	"context"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/envelope"
	"github.com/cachekit-io/cachekit-go/internal/store"
	"github.com/cachekit-io/cachekit-go/l1"
)

// batch is a set of caller's keys with their storage keys, each once.
type batch struct {
	op          string
	keys, names []string
	failed      map[string]error
	stale       []int // those that the backend served past their fresh window
}

// size is how many keys there are, those that cannot be stored included.
func (b *batch) size() int { return len(b.names) + len(b.failed) }

func (b *batch) fail(key string, err error) {
	if b.failed == nil {
		b.failed = make(map[string]error)
	}
	b.failed[key] = err
}

// namesAt returns the storage keys at those places, which ascend.
func (b *batch) namesAt(places []int) []string {
	if len(places) == len(b.names) {
		return b.names
	}
	names := make([]string, len(places))
	for j, i := range places {
		names[j] = b.names[i]
	}
	return names
}

// batchOf names the keys; those that cannot be stored are failed at once.
func (c *Cache) batchOf(ctx context.Context, op string, n int, keys iter.Seq[string]) *batch {
	b := &batch{op: op, keys: make([]string, 0, n), names: make([]string, 0, n)}
	seen := make(map[string]struct{}, n)
	for key := range keys {
		if _, again := seen[key]; again {
			continue
		}
		seen[key] = struct{}{}
		name, err := c.name(key)
		if err == nil {
			err = c.core.checkKey(name)
		}
		if err != nil {
			b.fail(key, c.core.fail(ctx, op, "", err))
			continue
		}
		b.keys, b.names = append(b.keys, key), append(b.names, name)
	}
	return b
}

// GetMany returns the values of keys, those that there are, in one round trip
// where the backend can batch. If some keys failed, the error is a *BatchError
// that has the error of each, and the map has all the others. An empty slice of
// keys does no I/O. An entry that is stale is served and not loaded anew, as by
// Get: there is nothing to load it with.
func (v View[T]) GetMany(ctx context.Context, keys []string) (map[string]T, error) {
	out := make(map[string]T, len(keys))
	b := v.cache.batchOf(ctx, "get many", len(keys), slices.Values(keys))
	ctx, o := v.cache.core.begin(ctx, b.op, "", b.size())
	getMany(ctx, v.cache.core, b, out, v.cache.core.l1 != nil)
	o.many(len(out), b.failed)
	return out, newBatchError("get many", b.failed)
}

// getMany fills out and returns the indexes into b of the keys that have no
// value, known-absent ones left out. withAge asks for the age of entries, also
// where that takes the backend another kind of call.
func getMany[T any](ctx context.Context, c *core, b *batch, out map[string]T, withAge bool) (missing []int) {
	ask := askFor(ctx, c, b, out)
	if c.store == nil || len(ask) == 0 {
		return ask
	}
	names := b.namesAt(ask)
	tickets := c.watchAll(names)
	var room func(size int) []byte
	if c.l1 == nil { // or else it keeps the entries
		a := newArena()
		defer a.release()
		room = a.room
	}
	var value, none T // value is allocated once
	open := func(f store.Fetched) (envelope.Sealed, error) { return c.open(f.Received, &value) }
	for j, r := range c.store.GetMany(ctx, names, withAge, room) {
		key := b.keys[ask[j]]
		switch {
		case r.Err != nil:
			b.fail(key, c.fail(ctx, "get many", names[j], r.Err))
		case !r.Found:
			c.counts.misses.Add(1)
			missing = append(missing, ask[j])
		default:
			value = none
			if err := c.take(r.Fetched, tickets[j], c.ttl, open); err != nil {
				b.fail(key, c.fail(ctx, "get many", names[j], err))
				continue
			}
			out[key] = value
			if r.Fetched.Stale {
				b.stale = append(b.stale, ask[j])
			}
		}
	}
	return missing
}

// askFor fills out from the in-process layer and returns the indexes of the keys
// that the backend has to be asked for.
func askFor[T any](ctx context.Context, c *core, b *batch, out map[string]T) []int {
	ask := make([]int, 0, len(b.names))
	for i, name := range b.names {
		if c.l1 == nil {
			ask = append(ask, i)
			continue
		}
		var value T
		h, err := c.lookup(name, &value)
		switch {
		case err != nil:
			b.fail(b.keys[i], c.fail(ctx, "get many", name, err))
		case h == hitNone:
			ask = append(ask, i)
		case h != hitAbsent:
			out[b.keys[i]] = value
		}
	}
	return ask
}

// watchAll returns the tickets for copies of what is about to be read.
func (c *core) watchAll(names []string) []l1.Ticket {
	tickets := make([]l1.Ticket, len(names))
	if c.l1 == nil {
		return tickets
	}
	for j, name := range names {
		tickets[j] = c.l1.Watch(name)
	}
	return tickets
}

// SetMany stores all values for the cache's TTL, in one round trip where the
// backend can batch. If some keys failed, the error is a *BatchError that has
// the error of each; all others are stored.
func (v View[T]) SetMany(ctx context.Context, values map[string]T) error {
	b := v.cache.batchOf(ctx, "set many", len(values), maps.Keys(values))
	ctx, o := v.cache.core.begin(ctx, b.op, "", b.size())
	setMany(ctx, v.cache.core, b, values)
	o.done(one(b.failed))
	return newBatchError("set many", b.failed)
}

func setMany[T any](ctx context.Context, c *core, b *batch, values map[string]T) {
	if c.store == nil {
		for i, name := range b.names {
			if err := c.set(ctx, name, values[b.keys[i]], c.ttl); err != nil {
				b.fail(b.keys[i], c.fail(ctx, "set many", name, err))
			}
		}
		return
	}
	now := time.Now()
	entries, keys := make([]envelope.Sealed, 0, len(b.names)), make([]string, 0, len(b.names))
	for i, name := range b.names {
		sealed, err := c.seal(now, name, values[b.keys[i]])
		if err == nil {
			err = c.order.write(ctx, name)
		}
		if err != nil {
			b.fail(b.keys[i], c.fail(ctx, "set many", name, err))
			continue
		}
		defer c.wrote(name)
		entries, keys = append(entries, sealed), append(keys, b.keys[i])
	}
	for i, err := range c.putMany(ctx, entries) {
		if err != nil {
			b.fail(keys[i], c.fail(ctx, "set many", entries[i].Key(), err))
		}
	}
}

// putMany writes to the backend, then to the in-process layer.
func (c *core) putMany(ctx context.Context, entries []envelope.Sealed) []error {
	c.counts.sets.Add(uint64(len(entries)))
	if c.l1 == nil {
		return c.store.PutMany(ctx, entries, c.ttl)
	}
	tickets := make([]l1.Ticket, len(entries))
	for i, e := range entries {
		tickets[i] = c.l1.Begin(e.Key())
	}
	var errs []error
	defer func() {
		for i := len(errs); i < len(entries); i++ { // the backend panicked
			c.l1.Abort(tickets[i], entries[i].Key())
		}
	}()
	errs = c.store.PutMany(ctx, entries, c.ttl)
	for i, e := range entries {
		if errs[i] != nil {
			c.l1.Abort(tickets[i], e.Key())
			continue
		}
		c.l1.Commit(tickets[i], e.Key(), local{sealed: e, kind: localSealed}, c.lifeOfWrite(c.ttl))
	}
	return errs
}

// DeleteMany removes the entries of keys, in one round trip where the backend
// can batch, and returns how many there were, as far as the backend can tell.
// If some keys failed, the error is a *BatchError.
func (c *Cache) DeleteMany(ctx context.Context, keys []string) (existed int, err error) {
	b := c.batchOf(ctx, "delete many", len(keys), slices.Values(keys))
	ctx, o := c.core.begin(ctx, b.op, "", b.size())
	existed = c.core.deleteMany(ctx, b)
	o.done(one(b.failed))
	return existed, newBatchError("delete many", b.failed)
}

// DeleteMany is Cache.DeleteMany.
func (v View[T]) DeleteMany(ctx context.Context, keys []string) (existed int, err error) {
	return v.cache.DeleteMany(ctx, keys)
}

func (c *core) deleteMany(ctx context.Context, b *batch) (existed int) {
	var ask []int
	for i, name := range b.names {
		if c.store == nil {
			if ok, _ := c.delete(ctx, name); ok {
				existed++
			}
			continue
		}
		if err := c.order.write(ctx, name); err != nil {
			b.fail(b.keys[i], c.fail(ctx, "delete many", name, err))
			continue
		}
		defer c.wrote(name)
		if c.l1 != nil {
			ticket := c.l1.Begin(name)
			defer c.l1.Abort(ticket, name)
		}
		ask = append(ask, i)
	}
	if len(ask) == 0 {
		return existed
	}
	names := b.namesAt(ask)
	c.counts.deletes.Add(uint64(len(names)))
	for j, r := range c.store.DeleteMany(ctx, names) {
		switch {
		case r.Err != nil:
			b.fail(b.keys[ask[j]], c.fail(ctx, "delete many", names[j], r.Err))
		case r.Existed:
			existed++
		}
	}
	return existed
}
