// Package flight shares the loads of a process: one per key at a time, whoever
// asks for it.
//
// A load runs in a goroutine of its own, with the values of its first caller's
// context but neither that caller's deadline nor its cancellation: a caller who
// leaves fails nobody else. When all have left, the load goes on, so that its
// result reaches the cache, until it returns or its timeout ends its context. A
// load that panics or calls runtime.Goexit becomes an error for every waiter,
// and the key can be loaded again at once. No lock is held while a load runs.
package flight

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
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
	ErrGoexit = errors.New("flight: the load ended its goroutine without returning")
	// ErrClosed is returned for loads that are asked for after Close.
	ErrClosed = errors.New("flight: closed")
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
	return fmt.Sprintf("flight: the load panicked with a %T", e.Value)
}

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

// call is one load. value and err are set before done is closed.
type call[V any] struct {
	done  chan struct{}
	value V
	err   error
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

// inside marks the contexts of loads, so that a load that asks for a key that
// it, or a load around it, is loading does not wait for itself.
type inside struct {
	call  any
	outer *inside
}

type insideKey struct{}

func isInside(ctx context.Context, call any) bool {
	in, _ := ctx.Value(insideKey{}).(*inside)
	for ; in != nil; in = in.outer {
		if in.call == call {
			return true
		}
	}
	return false
}

// Do returns what load returns for key, running it unless a load of key is
// under way, and whether the result came from somebody else's. It returns early
// with ctx's error when ctx ends.
//
// A load that calls Do for its own key, with the context it was given, runs the
// inner load directly instead of waiting for itself.
func (g *Group[V]) Do(ctx context.Context, key string, load func(ctx context.Context) (V, error)) (v V, shared bool, err error) {
	c, started, err := g.start(ctx, key, load, nil)
	if err != nil {
		return v, false, err
	}
	if !started && isInside(ctx, c) {
		v, err = load(ctx)
		return v, false, err
	}
	select {
	case <-c.done:
		return c.value, !started, c.err
	case <-ctx.Done():
		return v, false, ctx.Err()
	}
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
	_, started, err := g.start(ctx, key, load, release)
	if !started || err != nil {
		release()
		return false
	}
	return true
}

// start returns the load of key that is under way, or starts one. after, if not
// nil, is called when a started load has ended.
func (g *Group[V]) start(ctx context.Context, key string, load func(ctx context.Context) (V, error), after func()) (c *call[V], started bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, false, ErrClosed
	}
	c, started = g.join(key)
	if started {
		g.wg.Add(1)
		go g.run(context.WithoutCancel(ctx), []string{key}, []*call[V]{c}, func(ctx context.Context) { c.value, c.err = load(ctx) }, after)
	}
	return c, started, nil
}

// join returns the load of key that is under way, or enters a new one. It is
// called with the group locked.
func (g *Group[V]) join(key string) (c *call[V], entered bool) {
	if c, ok := g.calls[key]; ok {
		return c, false
	}
	c = &call[V]{done: make(chan struct{})}
	g.calls[key] = c
	return c, true
}

// run runs the load of the calls, which have the keys, to its end, however it
// ends.
func (g *Group[V]) run(ctx context.Context, keys []string, calls []*call[V], load func(ctx context.Context), after func()) {
	ctx, cancel := context.WithTimeout(ctx, g.timeout)
	stop := context.AfterFunc(g.ctx, cancel)
	for _, c := range calls {
		outer, _ := ctx.Value(insideKey{}).(*inside)
		ctx = context.WithValue(ctx, insideKey{}, &inside{call: c, outer: outer})
	}
	returned := false
	defer func() {
		if !returned {
			err := ErrGoexit
			if r := recover(); r != nil {
				err = &PanicError{r, debug.Stack()}
			}
			for _, c := range calls {
				c.err = err
			}
		}
		stop()
		cancel()
		g.mu.Lock()
		for _, key := range keys {
			delete(g.calls, key)
		}
		g.mu.Unlock()
		for _, c := range calls {
			close(c.done)
		}
		if after != nil {
			after()
		}
		g.wg.Done()
	}()
	load(ctx)
	returned = true
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
