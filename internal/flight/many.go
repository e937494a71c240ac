package flight

import (
	"context"
	"errors"
)

// Outcome is the result of a load of several keys for one of them.
type Outcome[V any] struct {
	Value V
	Err   error
}

var errOutcomes = errors.New("secure: the load did not return one outcome for each key")

// DoMany is Do for several different keys: load is called with the keys that
// nobody is loading yet, and returns one outcome for each of them in order; the
// others are waited for. The result has one outcome for each key, in order. For
// keys that must not be waited for, as Do says, load is called a second time.
//
// lead is called, before DoMany returns and before load runs, for each key that
// load will be called with.
func (g *Group[V]) DoMany(ctx context.Context, keys []string, lead func(key string), load func(ctx context.Context, keys []string) []Outcome[V]) []Outcome[V] {
	in := insideOf(ctx)
	err := ctx.Err()
	var b batch[V]
	if err == nil {
		b, err = g.joinMany(in, keys)
	}
	if err != nil {
		return fail[V](len(keys), err)
	}
	for _, c := range b.mine {
		lead(c.key)
	}
	if len(b.mine) > 0 {
		go g.runMany(ctx, in, b.mine, load)
	}
	var again []Outcome[V]
	if len(b.again) > 0 {
		again, err = nested(g, ctx, in, each(b.again, func(ctx context.Context, keys []string) []Outcome[V] {
			for _, key := range keys {
				lead(key)
			}
			return load(ctx, keys)
		}), b.again...)
		if err != nil {
			again = fail[V](len(b.again), err)
		}
	}
	out := make([]Outcome[V], len(keys))
	for i, c := range b.calls {
		if c == nil {
			out[i], again = again[0], again[1:]
			continue
		}
		out[i].Value, out[i].Err = c.await(ctx)
		g.unwait(in, c)
	}
	return out
}

// batch is what becomes of the keys of DoMany.
type batch[V any] struct {
	calls []*call[V] // for each key what to wait for, nil for those of again
	mine  []*call[V] // to be run
	again []*call[V] // must not be waited for
}

func (g *Group[V]) joinMany(in *inside, keys []string) (batch[V], error) {
	b := batch[V]{calls: make([]*call[V], len(keys))}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return b, ErrClosed
	}
	for i, key := range keys {
		c, entered := g.join(key)
		switch {
		case entered:
			b.mine = append(b.mine, c)
		case g.circle(in, c):
			b.again = append(b.again, c)
			continue
		}
		b.calls[i] = c
		g.wait(in, c)
	}
	return b, nil
}

// runMany is run for one load of several calls.
func (g *Group[V]) runMany(ctx context.Context, in *inside, calls []*call[V], load func(ctx context.Context, keys []string) []Outcome[V]) {
	for _, c := range calls {
		c.err = ErrGoexit
		in = &inside{g, c, in}
	}
	ctx, cancel := g.detach(ctx, in)
	defer func() {
		cancel()
		g.end(calls...)
	}()
	out, err := protect(ctx, each(calls, load))
	if err != nil {
		out = fail[V](len(calls), err)
	}
	for i, c := range calls {
		c.value, c.err = out[i].Value, out[i].Err
	}
}

// each binds load to the keys of calls.
func each[V any](calls []*call[V], load func(ctx context.Context, keys []string) []Outcome[V]) func(ctx context.Context) ([]Outcome[V], error) {
	return func(ctx context.Context) ([]Outcome[V], error) {
		keys := make([]string, len(calls))
		for i, c := range calls {
			keys[i] = c.key
		}
		out := load(ctx, keys)
		if len(out) != len(calls) {
			return nil, errOutcomes
		}
		return out, nil
	}
}

func fail[V any](n int, err error) []Outcome[V] {
	out := make([]Outcome[V], n)
	for i := range out {
		out[i].Err = err
	}
	return out
}
