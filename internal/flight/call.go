package flight

import (
	"context"
	"runtime/debug"
)

// call is the load of one key. value and err are set before done is closed.
type call[V any] struct {
	key   string
	done  chan struct{}
	value V
	err   error
	run   *running[V] // own, or one for several keys
	own   running[V]
}

// running is a load that is under way, of one key or several.
type running[V any] struct {
	waits map[*call[V]]int // what it waits for, and how often; guarded by the group's lock
}

// join returns the load of key that is under way, or enters a new one, which
// the caller runs: by together if it is not nil. It is called with the group locked.
func (g *Group[V]) join(key string, together *running[V]) (c *call[V], entered bool) {
	if c, ok := g.calls[key]; ok {
		return c, false
	}
	c = &call[V]{key: key, done: make(chan struct{}), run: together}
	if together == nil {
		c.run = &c.own
	}
	g.calls[key] = c
	g.wg.Add(1)
	return c, true
}

// run runs the load of c to its end, however it ends. in is where the caller
// of the load is. after, if not nil, is called in the end.
func (g *Group[V]) run(ctx context.Context, in *inside, c *call[V], load func(ctx context.Context) (V, error), after func()) {
	ctx, cancel := g.detach(ctx, &inside{group: g, run: c.run, outer: in})
	c.err = ErrGoexit
	defer func() {
		cancel()
		g.end(c)
		if after != nil {
			after()
		}
	}()
	c.value, c.err = protect(ctx, load)
}

// end tells the waiters of calls, whose results are set.
func (g *Group[V]) end(calls ...*call[V]) {
	g.mu.Lock()
	for _, c := range calls {
		if g.calls[c.key] == c { // it may have been forgotten
			delete(g.calls, c.key)
		}
	}
	g.mu.Unlock()
	for _, c := range calls {
		close(c.done)
		g.wg.Done()
	}
}

// protect makes an error of a panic. It does not return if load calls
// runtime.Goexit.
func protect[T any](ctx context.Context, load func(ctx context.Context) (T, error)) (v T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &PanicError{r, debug.Stack()}
		}
	}()
	return load(ctx)
}

// await returns the result, or ctx's error if ctx ends before there is one.
func (c *call[V]) await(ctx context.Context) (v V, err error) {
	select {
	case <-c.done:
		return c.value, c.err
	case <-ctx.Done():
	}
	select {
	case <-c.done:
		return c.value, c.err
	default:
		return v, ctx.Err()
	}
}

// detached is the context of a load: it ends with the group, and its values are
// those of the caller.
type detached struct {
	context.Context
	values context.Context
	in     *inside
}

func (g *Group[V]) detach(ctx context.Context, in *inside) (context.Context, context.CancelFunc) {
	return context.WithTimeout(&detached{g.ctx, ctx, in}, g.timeout)
}

// Value asks the group's context first: it answers only to package context,
// which must not find the caller's cancellation behind the values.
func (d *detached) Value(key any) any {
	if key == (insideKey{}) {
		return d.in
	}
	if v := d.Context.Value(key); v != nil {
		return v
	}
	return d.values.Value(key)
}
