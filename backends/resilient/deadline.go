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
// runtime's network poller (4.5 us of a Redis GET's 41).
type deadlines struct {
	timeout time.Duration
	mu      sync.Mutex
	current atomic.Pointer[shared]
}

// shared is a context with the deadline of all calls that begin before until.
type shared struct {
	context.Context
	until time.Duration // by pulse.now
	// cancel is never called: what is left of the context ends at its deadline.
	cancel context.CancelFunc
}

// within returns ctx with a deadline, and what releases it. now is the time by
// pulse.now.
func (d *deadlines) within(ctx context.Context, now time.Duration) (context.Context, func()) {
	if ctx.Err() != nil {
		return ctx, func() {}
	}
	c := &deadlined{d.share(now), ctx}
	if ctx.Done() == nil {
		return c, func() {}
	}
	both, cancel := context.WithCancelCause(c)
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	return both, func() {
		stop()
		cancel(nil)
	}
}

func (d *deadlines) share(now time.Duration) context.Context {
	if s := d.current.Load(); s != nil && now < s.until {
		return s.Context
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.current.Load(); s != nil && now < s.until {
		return s.Context
	}
	s := &shared{until: now + d.timeout/shares}
	s.Context, s.cancel = context.WithTimeout(context.Background(), d.timeout)
	d.current.Store(s)
	return s.Context
}

// deadlined ends with a shared deadline and has the values of the caller's
// context.
type deadlined struct {
	context.Context
	values context.Context
}

// Value asks the shared context first, which has none but what package context
// keeps for itself: that must not be the caller's, which has another end.
func (c *deadlined) Value(key any) any {
	if v := c.Context.Value(key); v != nil {
		return v
	}
	return c.values.Value(key)
}
