package resilient

import (
	"math"
	"sync"
	"sync/atomic"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
)

// State is that of the circuit.
type State uint8

const (
	// Closed: calls go through.
	Closed State = iota + 1
	// Open: calls are refused.
	Open
	// HalfOpen: a few calls go through as probes, others are refused.
	HalfOpen
)

// String returns the name of the state in lower case.
func (s State) String() string {
	switch s {
	case Closed:
		return "closed"
	case Open:
		return "open"
	case HalfOpen:
		return "half-open"
	}
	return "invalid state"
}

// MarshalText returns String, and nothing for the zero State.
func (s State) MarshalText() ([]byte, error) {
	if s == 0 {
		return nil, nil
	}
	return []byte(s.String()), nil
}

func stateOf(s circuitbreaker.State) State {
	switch s {
	case circuitbreaker.OpenState:
		return Open
	case circuitbreaker.HalfOpenState:
		return HalfOpen
	}
	return Closed
}

// breaker adds to the library's breaker what a permit of it cannot express: a
// probe that ends without evidence (its caller left) gives its place back, and a
// closed circuit costs one atomic load.
type breaker struct {
	circuit  circuitbreaker.CircuitBreaker[any]
	max      int32
	probes   atomic.Int32 // under way
	trips    atomic.Uint64
	onChange func(from, to State)

	mu      sync.Mutex
	closed  atomic.Bool // whether the circuit is; written with mu locked
	changes []change    // not yet reported
}

type change struct{ from, to State }

func newBreaker(o *Options) *breaker {
	if o.NoBreaker {
		return nil
	}
	b := &breaker{max: int32(min(o.Probes, math.MaxInt32/2)), onChange: o.OnStateChange}
	b.closed.Store(true)
	b.circuit = circuitbreaker.NewBuilder[any]().
		WithFailureThresholdPeriod(uint(o.Failures), o.Window).
		WithDelay(o.OpenFor).
		WithSuccessThreshold(uint(o.Probes)).
		OnStateChanged(b.changed).
		Build()
	return b
}

// changed is called by the library, which has released its lock for that and
// would not survive a panic: what the user has to know is only noted. Changes may
// arrive out of order; the one that comes last reads the latest state.
func (b *breaker) changed(e circuitbreaker.StateChangedEvent) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed.Store(b.circuit.IsClosed())
	if e.NewState == circuitbreaker.OpenState {
		b.trips.Add(1)
	}
	if b.onChange != nil {
		b.changes = append(b.changes, change{stateOf(e.OldState), stateOf(e.NewState)})
	}
}

// report tells the user what has changed.
func (b *breaker) report() {
	if b.onChange == nil {
		return
	}
	b.mu.Lock()
	changes := b.changes
	b.changes = nil
	b.mu.Unlock()
	for _, c := range changes {
		b.onChange(c.from, c.to)
	}
}

// admit says whether a call may go through, and whether it is a probe, which
// has to be recorded.
func (b *breaker) admit() (probe, ok bool) {
	if b == nil || b.closed.Load() {
		return false, true
	}
	switch b.circuit.State() {
	case circuitbreaker.ClosedState:
		return false, true
	case circuitbreaker.OpenState:
		if !b.circuit.TryAcquirePermit() { // half-opens the circuit when it is time
			return false, false
		}
	}
	if b.probes.Add(1) > b.max {
		b.probes.Add(-1)
		return false, false
	}
	return true, true
}

// record counts what became of a call. A call that began before the circuit
// opened is no evidence of how the storage is now.
func (b *breaker) record(probe bool, v verdict) {
	if b == nil || !probe && (v != failed || !b.closed.Load()) {
		return
	}
	switch v {
	case failed:
		b.circuit.RecordFailure()
	case answered:
		b.circuit.RecordSuccess()
	}
	if probe {
		b.probes.Add(-1)
	}
	b.report()
}

// open reports whether calls are refused.
func (b *breaker) open() bool { return b != nil && !b.closed.Load() }

func (b *breaker) state() State {
	if b == nil {
		return Closed
	}
	return stateOf(b.circuit.State())
}
