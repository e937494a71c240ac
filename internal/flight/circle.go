package flight

import "context"

// inside says in a context which loads it is handed to: the innermost first. One that
// runs directly within another, in place of those of its calls, has no run of its own.
type inside struct {
	group, run any
	nested     map[any]bool // its calls
	outer      *inside
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
	return in != nil && in.nested != nil
}

// in reports whether r is one of the loads of in.
func (r *running[V]) in(in *inside) bool {
	for ; in != nil; in = in.outer {
		if in.run == r {
			return true
		}
	}
	return false
}

// count says how many of the loads of in are of c.
func (c *call[V]) count(in *inside) (n int) {
	for ; in != nil; in = in.outer {
		if in.run == c.run || in.nested[c] {
			n++
		}
	}
	return n
}

// circle reports whether the load of c is, or waits for, one of the loads of in, so
// that none of them may wait for c. It is called with the group locked.
func (g *Group[V]) circle(in *inside, c *call[V]) bool {
	if in == nil {
		return false
	}
	seen := map[*running[V]]bool{}
	var reaches func(r *running[V]) bool
	reaches = func(r *running[V]) bool {
		if seen[r] {
			return false
		}
		seen[r] = true
		if r.in(in) {
			return true
		}
		for c := range r.waits {
			if reaches(c.run) {
				return true
			}
		}
		return false
	}
	return reaches(c.run)
}

// wait notes that the loads of in wait for c. It is called with the group
// locked.
func (g *Group[V]) wait(in *inside, c *call[V]) {
	for ; in != nil; in = in.outer {
		if r, ok := in.run.(*running[V]); ok && in.group == g {
			if r.waits == nil {
				r.waits = map[*call[V]]int{}
			}
			r.waits[c]++
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
		if r, ok := in.run.(*running[V]); ok && in.group == g {
			if r.waits[c]--; r.waits[c] == 0 {
				delete(r.waits, c)
			}
		}
	}
}

// nested runs load within the load of in, which must not wait for the calls.
func nested[V, T any](ctx context.Context, in *inside, load func(ctx context.Context) (T, error), calls ...*call[V]) (v T, err error) {
	own := make(map[any]bool, len(calls))
	for _, c := range calls {
		if c.count(in) > 1 {
			return v, ErrRecursive
		}
		own[c] = true
	}
	return protect(context.WithValue(ctx, insideKey{}, &inside{nested: own, outer: in}), load)
}
