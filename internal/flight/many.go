package flight

import "context"

// Outcome is the result of a load of several keys for one of them.
type Outcome[V any] struct {
	Value V
	Err   error
}

// DoMany is Do for several different keys: load is called at most once, with
// the keys that nobody is loading yet, and returns one outcome for each of them
// in order; the others are waited for. The result has one outcome for each key,
// in order. Keys that the calling load is itself loading are loaded again.
//
// lead is called, before DoMany returns and before load runs, for each key that
// load will be called with. It must not use the group.
func (g *Group[V]) DoMany(ctx context.Context, keys []string, lead func(key string), load func(ctx context.Context, keys []string) []Outcome[V]) []Outcome[V] {
	out := make([]Outcome[V], len(keys))
	calls := make([]*call[V], len(keys))
	var mine, again []string
	var started []*call[V]
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		for i := range out {
			out[i].Err = ErrClosed
		}
		return out
	}
	for i, key := range keys {
		c, entered := g.join(key)
		switch {
		case entered:
			lead(key)
			mine, started = append(mine, key), append(started, c)
		case isInside(ctx, c):
			lead(key)
			again = append(again, key)
			continue
		}
		calls[i] = c
	}
	if len(mine) > 0 {
		g.wg.Add(1)
		go g.run(context.WithoutCancel(ctx), mine, started, func(ctx context.Context) {
			for i, o := range load(ctx, mine) {
				started[i].value, started[i].err = o.Value, o.Err
			}
		}, nil)
	}
	g.mu.Unlock()
	var repeated []Outcome[V]
	if len(again) > 0 {
		repeated = load(ctx, again)
	}
	for i, c := range calls {
		if c == nil {
			out[i], repeated = repeated[0], repeated[1:]
			continue
		}
		select {
		case <-c.done:
			out[i] = Outcome[V]{c.value, c.err}
		case <-ctx.Done():
			out[i].Err = ctx.Err()
		}
	}
	return out
}
