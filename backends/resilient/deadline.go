package resilient

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// shares is how many deadlines there are in Options.Timeout: calls that begin
// within one share of it end together.
const shares = 16

// deadlines hands out the deadlines of calls whose callers brought none. A timer
// for each call would cost more than all else in this package: it wakes the
// runtime's network poller.
type deadlines struct {
	timeout time.Duration
	mu      sync.Mutex
	current atomic.Pointer[shared]
}

// shared is a context with the deadline of all calls that begin before until.
type shared struct {
	context.Context
	until time.Time
	// cancel is never called: what is left of the context ends at its deadline.
	cancel context.CancelFunc
}

// within returns ctx with a deadline, and what releases it.
func (d *deadlines) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx.Done() != nil {
		return context.WithTimeout(ctx, d.timeout)
	}
	return &deadlined{d.share(time.Now()), ctx}, func() {}
}

func (d *deadlines) share(now time.Time) context.Context {
	if s := d.current.Load(); s != nil && now.Before(s.until) {
		return s.Context
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.current.Load(); s != nil && now.Before(s.until) {
		return s.Context
	}
	s := &shared{until: now.Add(d.timeout / shares)}
	s.Context, s.cancel = context.WithDeadline(context.Background(), now.Add(d.timeout))
	d.current.Store(s)
	return s.Context
}

// deadlined ends with a shared deadline and has the values of the caller's
// context, which cannot end.
type deadlined struct {
	context.Context
	values context.Context
}

// Value asks the caller's context first. What context keeps for itself under a
// key of its own is found in the shared one.
func (c *deadlined) Value(key any) any {
	if v := c.values.Value(key); v != nil {
		return v
	}
	return c.Context.Value(key)
}
