package flight

import (
	"context"
	"slices"
)

// inside says in a context which loads it is handed to: the innermost first.
type inside struct {
	group, call any
	outer       *inside
	nested      bool
}

type insideKey struct{}

func insideOf(ctx context.Context) *inside {
	in, _ := ctx.Value(insideKey{}).(*inside)
	return in
}

// Nested reports whether ctx is that of a load that runs directly within another
// one, because that one, or another that waits for it, has the same key.
func Nested(ctx context.Context) bool {
	in := insideOf(ctx)
	return in != nil && in.nested
}

func (in *inside) count(call any) (n int) {
	for ; in != nil; in = in.outer {
		if in.call == call {
			n++
		}
	}
	return n
}

// circle reports whether c is, or waits for, one of the loads of in, so that
// none of them may wait for c. It is called with the group locked.
func (g *Group[V]) circle(in *inside, c *call[V]) bool {
	if in == nil {
		return false
	}
	seen := map[*call[V]]bool{}
	var reaches func(c *call[V]) bool
	reaches = func(c *call[V]) bool {
		if seen[c] {
			return false
		}
		seen[c] = true
		return in.count(c) > 0 || slices.ContainsFunc(c.waits, reaches)
	}
	return reaches(c)
}

// wait notes that the loads of in wait for c. It is called with the group
// locked.
func (g *Group[V]) wait(in *inside, c *call[V]) {
	for ; in != nil; in = in.outer {
		if in.group == g {
			waiter := in.call.(*call[V])
			waiter.waits = append(waiter.waits, c)
		}
	}
}

// unwait takes back what wait has noted.
func (g *Group[V]) unwait(in *inside, c *call[V]) {
	if in == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for ; in != nil; in = in.outer {
		if in.group == g {
			waiter := in.call.(*call[V])
			i := slices.Index(waiter.waits, c)
			waiter.waits = slices.Delete(waiter.waits, i, i+1)
		}
	}
}

// nested runs load within the load of in, which must not wait for the calls.
func nested[V, T any](g *Group[V], ctx context.Context, in *inside, load func(ctx context.Context) (T, error), calls ...*call[V]) (v T, err error) {
	for _, c := range calls {
		if in.count(c) > 1 {
			return v, ErrRecursive
		}
	}
	for _, c := range calls {
		in = &inside{g, c, in, true}
	}
	return protect(context.WithValue(ctx, insideKey{}, in), load)
}
