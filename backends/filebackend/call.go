package filebackend

import (
	"bytes"
	"context"
	"sync/atomic"

	"github.com/cachekit-io/cachekit-go/backends"
)

// maxDetached bounds the goroutines, and with them the threads and copies of
// values, that a stalled disk can hold on to.
const maxDetached = 128

// maxWaiting is how many goroutines wait for the next call: as many as can be
// busy on a fast disk, whose stacks need not grow anew for each call.
const maxWaiting = 16

// detach runs f in a goroutine of its own.
func (b *Backend) detach(f func()) {
	select {
	case b.calls <- f:
	default:
		go b.serve(f)
	}
}

// serve runs f, and then other calls until Close, unless enough others wait for
// them.
func (b *Backend) serve(f func()) {
	for f != nil {
		f()
		f = b.next()
	}
}

func (b *Backend) next() func() {
	if b.waiting.Add(1) > maxWaiting {
		b.waiting.Add(-1)
		return nil
	}
	defer b.waiting.Add(-1)
	select {
	case f := <-b.calls:
		return f
	case <-b.stop:
		return nil
	}
}

// attempt settles, once, whether a call takes effect or its caller has gone.
type attempt struct {
	state atomic.Int32
}

const (
	undecided = iota
	proceeding
	abandoned
)

// proceed is called right before the step that takes effect, under the lock of
// the file; if it returns false, the step must not be taken.
// A call that cannot be abandoned has no attempt.
func (a *attempt) proceed() bool {
	return a == nil || a.state.CompareAndSwap(undecided, proceeding)
}

func (a *attempt) abandon() { a.state.CompareAndSwap(undecided, abandoned) }

// call runs f for key within ctx. A system call on a file cannot be
// interrupted, so if ctx can end, f runs in a goroutine of its own, on copies of
// inputs, and may outlive the call. What it holds then, the lock of its file,
// orders it before every later write.
func call[T any](ctx context.Context, b *Backend, op, key string, f func(a *attempt, name string) (T, error), inputs ...*[]byte) (T, error) {
	var zero T
	if err := ctx.Err(); err != nil {
		return zero, err
	}
	if err := backends.CheckKey(key); err != nil {
		return zero, err
	}
	return perform(ctx, b, op, fileName(key), f, inputs...)
}

// perform is call for a name.
func perform[T any](ctx context.Context, b *Backend, op, name string, f func(a *attempt, name string) (T, error), inputs ...*[]byte) (T, error) {
	var zero T
	if err := b.acquire(); err != nil {
		return zero, err
	}
	if ctx.Done() == nil {
		defer b.release()
		v, err := f(nil, name)
		return v, wrap(op, err)
	}
	select {
	case b.slots <- struct{}{}:
	case <-ctx.Done():
		b.release()
		return zero, ctx.Err()
	}
	for _, in := range inputs {
		*in = bytes.Clone(*in)
	}
	type result struct {
		v   T
		err error
	}
	a, done := new(attempt), make(chan result, 1)
	b.detach(func() {
		defer b.release()
		defer func() { <-b.slots }()
		v, err := f(a, name)
		done <- result{v, err}
	})
	select {
	case r := <-done:
		return r.v, wrap(op, r.err)
	case <-ctx.Done():
		a.abandon()
		return zero, ctx.Err()
	}
}
