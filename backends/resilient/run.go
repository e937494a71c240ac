package resilient

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"

	"github.com/cachekit-io/cachekit-go/backends"
)

// backendType is what the errors of this package call their origin.
const backendType = "resilient"

var (
	errOpen    = errors.New("the storage has failed repeatedly and is left alone for a while")
	errTimeout = errors.New("no attempt was answered within Options.Timeout")
)

// call is one call of the wrapper, with all its attempts.
type call struct {
	op   string
	once bool // never retried
	turn turn // of a write

	ours    bool // the deadline is the wrapper's
	probe   bool
	began   moment
	verdict verdict
}

// attempt sends a call once. It captures nothing, so that it costs no
// allocation.
type attempt[A, T any] func(ctx context.Context, b *Backend, arg A) (T, error)

// run makes the call c: its first attempt, within the bulkhead and the breaker, and
// what has to follow.
func run[A, T any](ctx context.Context, b *Backend, c call, arg A, send attempt[A, T]) (v T, err error) {
	if _, ok := ctx.Deadline(); !ok && !c.ours && b.opts.bounded() {
		return runWithin(ctx, b, c, arg, send)
	}
	if err := b.enter(ctx, &c); err != nil {
		return v, err
	}
	defer b.leave(&c) // a backend may panic too
	if c.probe {
		b.breaker.report()
	}
	v, err = send(ctx, b, arg)
	if err == nil || err == backends.ErrNotFound {
		c.verdict = answered
		return v, err
	}
	if e := passing(err); e != nil && !c.once && !c.probe {
		v, err = again(ctx, b, c, arg, send, v, e, err)
	}
	c.verdict = b.judge(err, &c)
	return v, err
}

// runWithin is run with a deadline of the wrapper.
func runWithin[A, T any](ctx context.Context, b *Backend, c call, arg A, send attempt[A, T]) (T, error) {
	c.ours, c.began.at = true, b.pulse.now()
	within, cancel := b.deadlines.within(ctx, c.began.at)
	defer cancel()
	v, err := run(within, b, c, arg, send)
	return v, ownDeadline(ctx, c.op, err)
}

// ownDeadline makes a failure of the storage of the end of a deadline that is
// not the caller's, whose context is ctx.
func ownDeadline(ctx context.Context, op string, err error) error {
	if err == nil || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if ended := ctx.Err(); ended != nil {
		return ended
	}
	if _, theirs := ctx.Deadline(); theirs {
		return err
	}
	return &backends.Error{Op: op, Backend: backendType, Kind: backends.Timeout, Err: errTimeout}
}

// enter admits a call, which then has to leave.
func (b *Backend) enter(ctx context.Context, c *call) error {
	if b.closed.Load() {
		return backends.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	waited, err := b.places.take(ctx)
	if err != nil {
		if err != errFull {
			return err
		}
		b.rejected.Add(1)
		return &backends.Error{Op: c.op, Backend: backendType, Kind: backends.Overload, Err: err}
	}
	probe, ok := b.breaker.admit()
	if !ok {
		b.places.leave()
		b.refused.Add(1)
		return &backends.Error{Op: c.op, Backend: backendType, Kind: backends.CircuitOpen, Err: errOpen}
	}
	c.probe = probe
	switch {
	case waited:
		c.began.at = b.pulse.now()
	case !c.ours:
		c.began = b.pulse.begin()
	}
	return nil
}

func (b *Backend) leave(c *call) {
	b.places.leave()
	b.breaker.record(c.probe, c.verdict)
}

// pause is the failure of an attempt that is followed by another.
type pause struct {
	error
	delay time.Duration
}

func (p *pause) Unwrap() error { return p.error }

// newRetryPolicy returns the loop over the attempts of a call. The waits are
// decided attempt by attempt, in planned.
func newRetryPolicy(o *Options) retrypolicy.RetryPolicy[any] {
	return retrypolicy.NewBuilder[any]().
		HandleIf(func(_ any, err error) bool { _, ok := err.(*pause); return ok }).
		WithDelayFunc(func(exec failsafe.ExecutionAttempt[any]) time.Duration { return exec.LastError().(*pause).delay }).
		WithMaxAttempts(o.Attempts).
		ReturnLastFailure().
		Build()
}

// again retries a call whose first attempt failed with e, which is in err.
func again[A, T any](ctx context.Context, b *Backend, c call, arg A, send attempt[A, T], v T, e *backends.Error, err error) (T, error) {
	n, timeouts := 0, 0
	_ = failsafe.With(b.retries).WithContext(ctx).Run(func() error {
		if n++; n > 1 {
			if c.turn.superseded() || b.breaker.open() {
				return err
			}
			b.retried.Add(1)
			v, err = send(ctx, b, arg)
			e = passing(err)
		}
		if e == nil {
			return err
		}
		if e.Kind == backends.Timeout {
			timeouts++
		}
		if delay, ok := b.planned(ctx, c, e, n); ok && timeouts < 2 {
			return &pause{err, delay}
		}
		return err
	})
	if ended := ctx.Err(); ended != nil && err != nil {
		err = ended
	}
	return v, err
}

// longestRetryAfter is how long a server can have a call wait for its next
// attempt.
const longestRetryAfter = 30 * time.Second

// planned returns how long to wait after attempt n, and whether there is the
// time for it.
func (b *Backend) planned(ctx context.Context, c call, e *backends.Error, n int) (time.Duration, bool) {
	longest := min(b.opts.BaseDelay, b.opts.MaxDelay)
	for range n - 1 {
		longest += min(longest, b.opts.MaxDelay-longest)
	}
	if e.RetryAfter > longestRetryAfter {
		return 0, false
	}
	delay := max(rand.N(longest), e.RetryAfter)
	if b.opts.bounded() && b.pulse.since(c.began)+delay >= b.opts.Timeout {
		return 0, false
	}
	deadline, ok := ctx.Deadline()
	return delay, !ok || time.Until(deadline) > delay
}
