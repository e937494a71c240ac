package memorybackend

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/cachekit-io/cachekit-go/backends"
)

// backendType is what errors and health reports call this storage.
const backendType = "memory"

var (
	errInjected = errors.New("injected by the test")
	errTooLarge = errors.New("the value is larger than Options.MaxValueBytes")
	errFull     = errors.New("Options.MaxBytes is reached, and this backend evicts nothing")
)

func failed(op string, kind backends.Kind, cause error) error {
	return &backends.Error{Op: op, Backend: backendType, Kind: kind, Err: cause}
}

// faults are the outages of one handle.
type faults struct {
	mu      sync.Mutex
	kind    backends.Kind
	stalled chan struct{} // closed by Resume; nil if nothing stalls
	done    chan struct{} // closed by Close

	intercept atomic.Pointer[func(context.Context, string, string) error]
}

// Fail makes every call of this handle, Health included, fail with an error of
// this kind until Resume. Nothing is read or written meanwhile.
func (b *Backend) Fail(kind backends.Kind) {
	b.faults.mu.Lock()
	b.faults.kind = kind
	b.faults.mu.Unlock()
	b.updateWatches()
}

// Stall makes every call of this handle wait until Resume. A call whose context
// ends meanwhile returns the context's error and never takes effect; after
// Resume the others do.
func (b *Backend) Stall() {
	b.faults.mu.Lock()
	if b.faults.stalled == nil {
		b.faults.stalled = make(chan struct{})
	}
	b.faults.mu.Unlock()
	b.updateWatches()
}

// Resume ends Fail and Stall.
func (b *Backend) Resume() {
	b.faults.mu.Lock()
	b.faults.kind = 0
	if b.faults.stalled != nil {
		close(b.faults.stalled)
		b.faults.stalled = nil
	}
	b.faults.mu.Unlock()
	b.updateWatches()
}

// Intercept has f decide about every call of this handle before it takes
// effect: nil lets it pass, an error becomes the call's. nil instead of f ends
// that. f may block, panic and call the backend's peers; it runs under no lock,
// in the caller's goroutine, and is called for each key of a batch.
//
// op is "get", "set", "delete", "exists", "ttl", "touch", "lock", "unlock",
// "swap", "scan" or "health"; key is "" for the last two. An error that is
// neither a *backends.Error nor one of a context is returned as the cause of a
// Transient failure, so its text must not hold the key.
func (b *Backend) Intercept(f func(ctx context.Context, op, key string) error) {
	if f == nil {
		b.faults.intercept.Store(nil)
		return
	}
	b.faults.intercept.Store(&f)
}

// admit waits out a stall and returns what the test has decided about a call.
func (b *Backend) admit(ctx context.Context, op string) error {
	for {
		if b.closed.Load() {
			return backends.ErrClosed
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		kind, stalled := b.faults.state()
		switch {
		case stalled != nil:
			select {
			case <-stalled:
			case <-b.faults.done:
			case <-ctx.Done():
			}
			continue
		case kind != 0:
			return failed(op, kind, errInjected)
		}
		return nil
	}
}

func (f *faults) state() (backends.Kind, chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.kind, f.stalled
}

// ask runs the function of Intercept.
func (b *Backend) ask(ctx context.Context, op, key string) error {
	f := b.faults.intercept.Load()
	if f == nil {
		return nil
	}
	err := (*f)(ctx, op, key)
	var known *backends.Error
	switch {
	case err == nil, errors.As(err, &known), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return failed(op, backends.Transient, err)
}
