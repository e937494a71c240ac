// Package flight shares the loads of a process: one per key at a time, whoever
// asks for it.
//
// A load runs in a goroutine of its own, with the values of its first caller's
// context but neither that caller's deadline nor its cancellation: a caller who
// leaves fails nobody else. When all have left, the load goes on, so that its
// result reaches the cache, until it returns; its timeout ends its context. A
// load that ignores its context blocks its own key and no other. A load that
// panics or calls runtime.Goexit becomes an error for every waiter, and the key
// can be loaded again at once. No lock is held while code of a caller runs.
package flight

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// DefaultTimeout is the default of Options.Timeout.
	DefaultTimeout = 30 * time.Second
	// DefaultMaxBackground is the default of Options.MaxBackground.
	DefaultMaxBackground = 64
)

var (
	// ErrGoexit is returned to the waiters of a load that called
	// runtime.Goexit.
	ErrGoexit = errors.New("secure: the load ended its goroutine without returning")
	// ErrClosed is returned for loads that are asked for after Close.
	ErrClosed = errors.New("flight: closed")
	// ErrRecursive is returned to a load that asks for a key which it is
	// loading for the second time already.
	ErrRecursive = errors.New("secure: the load of a key asks for the same key again and again")
)

// PanicError is what the waiters of a load that panicked get. Its text names
// the type of the panic value only: the value may be anything, a secret too.
type PanicError struct {
	// Value is what the load panicked with.
	Value any
	// Stack is the stack of the load's goroutine.
	Stack []byte
}

// Error names the type of the panic value.
func (e *PanicError) Error() string {
	return fmt.Sprintf("secure: the load panicked with a %T", e.Value)
}

// GoString is Error, so that %#v does not show the value either.
func (e *PanicError) GoString() string { return e.Error() }

// Unwrap returns the panic value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// Options configures a Group; nil or zero is the default.
type Options struct {
	// Timeout bounds the context of each load. Default 30 s.
	Timeout time.Duration
	// MaxBackground bounds the loads that Go has under way. Default 64.
	MaxBackground int
}

// Group shares loads by key. It is safe for concurrent use.
type Group[V any] struct {
	timeout time.Duration
	slots   chan struct{} // background loads under way

	mu     sync.Mutex
	calls  map[string]*call[V]
	closed bool
	wg     sync.WaitGroup
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
}

// New returns a group without loads.
func New[V any](opts *Options) *Group[V] {
	o := Options{Timeout: DefaultTimeout, MaxBackground: DefaultMaxBackground}
	if opts != nil && opts.Timeout > 0 {
		o.Timeout = opts.Timeout
	}
	if opts != nil && opts.MaxBackground > 0 {
		o.MaxBackground = opts.MaxBackground
	}
	g := &Group[V]{timeout: o.Timeout, slots: make(chan struct{}, o.MaxBackground), calls: make(map[string]*call[V])}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	return g
}

// Do returns what load returns for key, running it unless a load of key is
// under way, and whether the result came from somebody else's. It returns early
// with ctx's error when ctx ends, and starts nothing if it has ended.
//
// A load that calls Do, with the context it was given, for a key whose load
// waits for it - its own key, or one in a circle of loads of this group - runs
// the inner load directly instead; a second time is ErrRecursive.
func (g *Group[V]) Do(ctx context.Context, key string, load func(ctx context.Context) (V, error)) (v V, shared bool, err error) {
	if err := ctx.Err(); err != nil {
		return v, false, err
	}
	in := insideOf(ctx)
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return v, false, ErrClosed
	}
	c, entered := g.join(key, nil)
	circle := !entered && g.circle(in, c)
	if !circle {
		g.wait(in, c)
	}
	g.mu.Unlock()
	if circle {
		v, err = nested(ctx, in, load, c)
		return v, false, err
	}
	if entered {
		go g.run(ctx, in, c, load, nil)
	}
	v, err = c.await(ctx)
	g.unwait(in, c)
	return v, !entered, err
}

// Go starts load for key in the background, unless a load of key is under way
// or as many background loads as allowed are, and reports whether it did. ctx
// lends its values only.
func (g *Group[V]) Go(ctx context.Context, key string, load func(ctx context.Context) (V, error)) bool {
	select {
	case g.slots <- struct{}{}:
	default:
		return false
	}
	release := func() { <-g.slots }
	g.mu.Lock()
	entered, c := false, (*call[V])(nil)
	if !g.closed {
		c, entered = g.join(key, nil)
	}
	g.mu.Unlock()
	if !entered {
		release()
		return false
	}
	go g.run(ctx, nil, c, load, release)
	return true
}

// Forget lets the next Do of key start a load of its own beside the one that is
// under way, if there is one: that one may have read what has since been
// overwritten. Those who wait for it already get its result.
func (g *Group[V]) Forget(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.calls, key)
}

// ForgetAll is Forget for every key.
func (g *Group[V]) ForgetAll() {
	g.mu.Lock()
	defer g.mu.Unlock()
	clear(g.calls)
}

// Close ends the contexts of all loads, waits for them and refuses new ones.
// Loads that ignore their context are waited for too. It must not be called
// from a load.
func (g *Group[V]) Close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.cancel()
	g.wg.Wait()
}
