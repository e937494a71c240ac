package resilient

import (
	"context"
	"errors"
	"hash/maphash"
	"maps"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go/retrypolicy"

	"github.com/cachekit-io/cachekit-go/backends"
)

// Backend is a backend around another one. It is safe for concurrent use.
type Backend struct {
	inner   backends.Backend
	caps    backends.Caps
	opts    Options
	places  *places  // nil if switched off
	breaker *breaker // nil if switched off
	retries retrypolicy.RetryPolicy[any]
	turns   turns
	closed  atomic.Bool

	deadlines deadlines
	pulse     pulse

	retried, rejected, refused atomic.Uint64
}

var (
	_ backends.Backend = (*Backend)(nil)
	_ backends.Wrapper = (*Backend)(nil)
)

// New wraps inner, which belongs to the wrapper from then on: closing the
// wrapper closes it. It does no I/O and starts no goroutine. The error says that
// inner is nil or a value of opts is negative.
func New(inner backends.Backend, opts *Options) (*Backend, error) {
	o, err := opts.resolve()
	if err != nil {
		return nil, err
	}
	if inner == nil {
		return nil, errors.New("resilient: there is no backend to wrap")
	}
	return &Backend{
		inner: inner, caps: backends.CapabilitiesOf(inner), opts: o,
		places: newPlaces(&o), breaker: newBreaker(&o), retries: newRetryPolicy(&o),
		turns: turns{seed: maphash.MakeSeed()}, deadlines: deadlines{timeout: o.Timeout},
		pulse: pulse{epoch: time.Now(), length: min(o.Timeout/shares, longestBeat)},
	}, nil
}

// Get implements [backends.Backend].
func (b *Backend) Get(ctx context.Context, key string) ([]byte, error) {
	return run(ctx, b, call{op: "get"}, key, func(ctx context.Context, b *Backend, key string) ([]byte, error) {
		return b.inner.Get(ctx, key)
	})
}

// Set implements [backends.Backend]. The value is read until Set returns.
func (b *Backend) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	item := backends.Item{Key: key, Value: value, TTL: ttl}
	_, err := run(ctx, b, call{op: "set", turn: b.turns.next(key)}, item, func(ctx context.Context, b *Backend, it backends.Item) (struct{}, error) {
		return struct{}{}, b.inner.Set(ctx, it.Key, it.Value, it.TTL)
	})
	return err
}

// Delete implements [backends.Backend]. After a retry, existed may be false for
// an entry that the first attempt removed.
func (b *Backend) Delete(ctx context.Context, key string) (existed bool, err error) {
	return run(ctx, b, call{op: "delete", turn: b.turns.next(key)}, key, func(ctx context.Context, b *Backend, key string) (bool, error) {
		return b.inner.Delete(ctx, key)
	})
}

// Exists implements [backends.Backend].
func (b *Backend) Exists(ctx context.Context, key string) (bool, error) {
	return run(ctx, b, call{op: "exists"}, key, func(ctx context.Context, b *Backend, key string) (bool, error) {
		return b.inner.Exists(ctx, key)
	})
}

// Health implements [backends.Backend]. It asks the storage once, whatever the
// state of the circuit, and neither waits for a place nor counts for the
// breaker. The detail "circuit" is the state of the circuit.
func (b *Backend) Health(ctx context.Context) backends.Health {
	within := ctx
	if _, ok := ctx.Deadline(); !ok && b.opts.bounded() {
		var cancel context.CancelFunc
		within, cancel = b.deadlines.within(ctx, b.pulse.now())
		defer cancel()
	}
	h := b.inner.Health(within)
	h.Err = ownDeadline(ctx, "health", h.Err)
	details := map[string]string{"circuit": b.breaker.state().String()}
	maps.Copy(details, h.Details)
	h.Details = details
	return h
}

// Close closes the inner backend.
func (b *Backend) Close() error {
	b.closed.Store(true)
	return b.inner.Close()
}

// Stats is a snapshot of a Backend.
type Stats struct {
	// State is that of the circuit; Closed if the breaker is switched off.
	State State
	// Trips is how often the circuit opened.
	Trips uint64
	// Retries is how many attempts were made beside the first of each call.
	Retries uint64
	// Rejected is how many calls found no place in time (kind Overload),
	// Refused how many an open circuit turned away (kind CircuitOpen).
	Rejected, Refused uint64
	// Running and Waiting are how many calls are under way and wait for a
	// place; 0 if the bulkhead is switched off.
	Running, Waiting int
}

// Stats returns a snapshot.
func (b *Backend) Stats() Stats {
	s := Stats{State: b.breaker.state(), Retries: b.retried.Load(), Rejected: b.rejected.Load(), Refused: b.refused.Load()}
	if b.breaker != nil {
		s.Trips = b.breaker.trips.Load()
	}
	if b.places != nil {
		s.Running, s.Waiting = b.places.running(), int(b.places.waiting.Load())
	}
	return s
}
