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

var errOutcomes = errors.New("secure: the load has left a key without an outcome")

// Loader is a load of several keys. It calls settle for each of them, by its
// index, in its own goroutine; who waits for that key alone goes on at once. Of
// several outcomes for one key the first counts. A key without one when the loader
// has ended has the error of that: a panic's, ErrGoexit or another.
type Loader[V any] func(ctx context.Context, keys []string, settle func(i int, o Outcome[V]))

// DoMany is Do for several different keys: load is called with the keys that
// nobody is loading yet; the others are waited for. The result has one outcome for
// each key, in order. For keys that must not be waited for, as Do says, load is
// called a second time.
//
// lead is called, before DoMany returns and before load runs, for each key that
// load will be called with.
func (g *Group[V]) DoMany(ctx context.Context, keys []string, lead func(key string), load Loader[V]) []Outcome[V] {
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
	again := g.nestedMany(ctx, in, b.again, lead, load)
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
	b, together := batch[V]{calls: make([]*call[V], len(keys))}, new(running[V])
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return b, ErrClosed
	}
	circles := map[*running[V]]bool{}
	for i, key := range keys {
		c, entered := g.join(key, together)
		circle, known := circles[c.run]
		if !entered && !known {
			circle = g.circle(in, c)
			circles[c.run] = circle
		}
		switch {
		case entered:
			b.mine = append(b.mine, c)
		case circle:
			b.again = append(b.again, c)
			continue
		}
		b.calls[i] = c
		g.wait(in, c)
	}
	if len(b.mine) > 0 {
		g.wg.Add(1) // the load may go on when all calls have ended
	}
	return b, nil
}

// runMany is run for one load of several calls.
func (g *Group[V]) runMany(ctx context.Context, in *inside, calls []*call[V], load Loader[V]) {
	defer g.wg.Done()
	ctx, cancel := g.detach(ctx, &inside{group: g, run: calls[0].run, outer: in})
	defer cancel()
	settleAll(ctx, calls, load, func(i int, o Outcome[V]) {
		calls[i].value, calls[i].err = o.Value, o.Err
		g.end(calls[i])
	})
}

// nestedMany is nested for one load of several calls.
func (g *Group[V]) nestedMany(ctx context.Context, in *inside, calls []*call[V], lead func(key string), load Loader[V]) []Outcome[V] {
	if len(calls) == 0 {
		return nil
	}
	out := make([]Outcome[V], len(calls))
	_, err := nested(ctx, in, func(ctx context.Context) (struct{}, error) {
		for _, c := range calls {
			lead(c.key)
		}
		settleAll(ctx, calls, load, func(i int, o Outcome[V]) { out[i] = o })
		return struct{}{}, nil
	}, calls...)
	if err != nil {
		return fail[V](len(calls), err)
	}
	return out
}

// settleAll runs load and calls settle once for each of calls, however load ends.
func settleAll[V any](ctx context.Context, calls []*call[V], load Loader[V], settle func(i int, o Outcome[V])) {
	keys, settled := make([]string, len(calls)), make([]bool, len(calls))
	for i, c := range calls {
		keys[i] = c.key
	}
	once := func(i int, o Outcome[V]) {
		if !settled[i] {
			settled[i] = true
			settle(i, o)
		}
	}
	err := ErrGoexit
	defer func() {
		for i := range calls {
			once(i, Outcome[V]{Err: err})
		}
	}()
	_, err = protect(ctx, func(ctx context.Context) (struct{}, error) {
		load(ctx, keys, once)
		return struct{}{}, errOutcomes
	})
}

func fail[V any](n int, err error) []Outcome[V] {
	out := make([]Outcome[V], n)
	for i := range out {
		out[i].Err = err
	}
	return out
}
