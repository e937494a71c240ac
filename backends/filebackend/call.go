package filebackend

import (
	"context"
	"slices"
	"sync"
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

// attempt tells a call whether its caller has gone. A call under a context that
// cannot end has none.
type attempt struct{ gone atomic.Bool }

// inPlace is the attempt of all calls in place: their callers wait for them.
var inPlace = new(attempt)

func (a *attempt) inPlace() bool { return a == inPlace }

// inPlaceBytes is the size up to which a file is written, read or removed in
// place: the work of a millisecond.
const inPlaceBytes = 1 << 20

func (a *attempt) tooLong(size int64) bool { return a.inPlace() && size > headerSize+inPlaceBytes }

// proceed is called right before the step that takes effect, under the lock of
// the file; if it returns false, the step must not be taken.
func (a *attempt) proceed() bool { return a == nil || !a.gone.Load() }

// call runs f for key within ctx.
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

// perform is call for a name. A system call on a file cannot be interrupted, so
// f runs in place, in this goroutine, only if ctx cannot end, or if the work is
// short and no device can stall it.
func perform[T any](ctx context.Context, b *Backend, op, name string, f func(a *attempt, name string) (T, error), inputs ...*[]byte) (T, error) {
	var zero T
	if err := b.acquire(); err != nil {
		return zero, err
	}
	defer b.release()
	if a, waits := b.waits(ctx); waits && !a.tooLong(headerSize+size(inputs)) {
		if v, err := f(a, name); err != errHandOver {
			return v, wrap(op, err)
		}
	}
	v, err := handOver(ctx, b, name, f, inputs)
	return v, wrap(op, err)
}

// waits returns the attempt of calls in place and whether there may be any.
func (b *Backend) waits(ctx context.Context) (*attempt, bool) {
	if ctx.Done() == nil {
		return nil, true
	}
	return inPlace, b.dir.memory.Load()
}

func size(inputs []*[]byte) (n int64) {
	for _, in := range inputs {
		n += int64(len(*in))
	}
	return n
}

// handOver runs f in another goroutine, on copies of inputs. It may outlive the
// call; what it holds then, the lock of its file, orders it before every later
// write.
func handOver[T any](ctx context.Context, b *Backend, name string, f func(a *attempt, name string) (T, error), inputs []*[]byte) (T, error) {
	var zero T
	select {
	case b.slots <- struct{}{}:
	case <-ctx.Done():
		return zero, ctx.Err()
	}
	type result struct {
		v   T
		err error
	}
	a, done, copies := new(attempt), make(chan result, 1), copyAll(inputs)
	b.refs.Add(1)
	b.detach(func() {
		defer b.release()
		defer func() { <-b.slots }()
		v, err := f(a, name)
		giveBack(copies)
		done <- result{v, err}
	})
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		a.gone.Store(true)
		return zero, ctx.Err()
	}
}

// buffers are for the copies of inputs, of up to maxBuffer bytes.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

const maxBuffer = 1 << 20

// copyAll points inputs at copies, in a buffer that is given back when the call
// has ended, abandoned or not.
func copyAll(inputs []*[]byte) *[]byte {
	if len(inputs) == 0 {
		return nil
	}
	buf := buffers.Get().(*[]byte)
	all := slices.Grow((*buf)[:0], int(size(inputs)))
	for _, in := range inputs {
		n := len(all)
		all = append(all, *in...)
		*in = all[n:len(all):len(all)]
	}
	*buf = all
	return buf
}

func giveBack(buf *[]byte) {
	if buf != nil && cap(*buf) <= maxBuffer {
		buffers.Put(buf)
	}
}
