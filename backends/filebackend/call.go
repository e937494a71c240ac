package filebackend

import (
	"context"
	"errors"
	"sync/atomic"
	"syscall"

	"github.com/cachekit-io/cachekit-go/backends"
)

// abandon settles, once, whether a call takes effect or its caller has gone.
type abandon struct {
	state atomic.Int32
}

const (
	undecided = iota
	proceeding
	abandoned
)

// proceed is called right before the step that takes effect; if it returns
// false, the step must not be taken.
func (a *abandon) proceed() bool {
	return a.state.CompareAndSwap(undecided, proceeding) || a.state.Load() == proceeding
}

// call runs f for key within ctx. System calls on files cannot be interrupted,
// so if ctx can end, f runs in a goroutine of its own and may outlive the call;
// what it holds then, the lock of its file, orders it before later writes.
func call[T any](ctx context.Context, b *Backend, op, key string, f func(a *abandon, name string) (T, error)) (T, error) {
	var zero T
	if err := ctx.Err(); err != nil {
		return zero, err
	}
	if err := backends.CheckKey(key); err != nil {
		return zero, err
	}
	if err := b.acquire(); err != nil {
		return zero, err
	}
	a := new(abandon)
	if ctx.Done() == nil {
		defer b.release()
		v, err := f(a, fileName(key))
		return v, wrap(op, err)
	}
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		defer b.release()
		v, err := f(a, fileName(key))
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		if errors.Is(r.err, context.Canceled) && ctx.Err() != nil {
			return zero, ctx.Err()
		}
		return r.v, wrap(op, r.err)
	case <-ctx.Done():
		a.state.CompareAndSwap(undecided, abandoned)
		return zero, ctx.Err()
	}
}

var errTooLarge = errors.New("the value is larger than Options.MaxValueBytes")

// wrap gives an error of the operating system its kind. Only the error number
// is kept: a path would hold the name of the file, which stands for the key.
func wrap(op string, err error) error {
	var number syscall.Errno
	switch {
	case err == nil, errors.Is(err, backends.ErrNotFound), errors.Is(err, backends.ErrLocked), errors.Is(err, backends.ErrTTL),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, errTooLarge):
		return &backends.Error{Op: op, Backend: backendType, Kind: backends.TooLarge, Err: err}
	case errors.As(err, &number):
		return &backends.Error{Op: op, Backend: backendType, Kind: kindOf(number), Err: number}
	}
	return &backends.Error{Op: op, Backend: backendType, Kind: backends.Transient, Err: err}
}

func kindOf(number syscall.Errno) backends.Kind {
	switch number {
	case syscall.EFBIG:
		return backends.TooLarge
	case syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.ENOTDIR, syscall.EINVAL, syscall.ENAMETOOLONG:
		return backends.Permanent
	}
	return backends.Transient
}
