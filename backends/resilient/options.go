package resilient

import (
	"errors"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

// Defaults of Options, which are those of cachekit-rs (reliability.rs).
const (
	DefaultTimeout    = 5 * time.Second
	DefaultAttempts   = 3
	DefaultBaseDelay  = 100 * time.Millisecond
	DefaultMaxDelay   = 5 * time.Second
	DefaultFailures   = 5
	DefaultWindow     = 60 * time.Second
	DefaultOpenFor    = 5 * time.Second
	DefaultProbes     = 3
	DefaultMaxRunning = 100
	DefaultMaxWaiting = 1000
	DefaultMaxWait    = 100 * time.Millisecond
)

// Options adjusts a Backend; nil or zero values are the defaults. Negative
// values are refused.
type Options struct {
	// Timeout bounds a call with all its attempts if its context has no
	// deadline (calls that begin together share one, so it may be up to a
	// sixteenth less); backends.NoExpiry leaves such a call to the backend's own
	// limits. It also bounds, as closely, how long after its beginning a call is
	// retried. Default 5 s.
	Timeout time.Duration

	// Attempts is how often a call is sent, the first time included; 1 switches
	// retries off. Default 3.
	Attempts int
	// BaseDelay is the longest wait before the second attempt; it doubles with
	// each further one, up to MaxDelay. Defaults 100 ms and 5 s.
	BaseDelay, MaxDelay time.Duration

	// NoBreaker switches the circuit breaker off.
	NoBreaker bool
	// Failures is how many failed calls within Window open the circuit.
	// Defaults 5 and 60 s.
	Failures int
	Window   time.Duration
	// OpenFor is how long the circuit stays open before probes are let through.
	// Default 5 s.
	OpenFor time.Duration
	// Probes is how many calls at a time probe a storage, and how many have to
	// succeed. Default 3.
	Probes int

	// NoBulkhead switches the bound on concurrent calls off.
	NoBulkhead bool
	// MaxRunning is how many calls are under way at most, MaxWaiting how many
	// wait for their turn, and MaxWait how long. Defaults 100, 1000 and 100 ms.
	MaxRunning, MaxWaiting int
	MaxWait                time.Duration

	// OnStateChange, if given, is told every change of the circuit. It is
	// called in the goroutine of the call that caused it, which waits for it,
	// and under no lock. Calls that change the state at the same moment may
	// report out of order.
	OnStateChange func(from, to State)
}

// errOptions refuses options that cannot be meant.
var errOptions = errors.New("resilient: a value in Options is negative")

// Validate returns an error if a value is negative; nil options are valid.
func (o *Options) Validate() error {
	_, err := o.resolve()
	return err
}

// resolve returns a copy of o with every default filled in.
func (o *Options) resolve() (Options, error) {
	var v Options
	if o != nil {
		v = *o
	}
	if min(v.Timeout, v.BaseDelay, v.MaxDelay, v.Window, v.OpenFor, v.MaxWait) < 0 ||
		min(v.Attempts, v.Failures, v.Probes, v.MaxRunning, v.MaxWaiting) < 0 {
		return v, errOptions
	}
	set(&v.Timeout, DefaultTimeout)
	set(&v.Attempts, DefaultAttempts)
	set(&v.BaseDelay, DefaultBaseDelay)
	set(&v.MaxDelay, DefaultMaxDelay)
	set(&v.Failures, DefaultFailures)
	set(&v.Window, DefaultWindow)
	set(&v.OpenFor, DefaultOpenFor)
	set(&v.Probes, DefaultProbes)
	set(&v.MaxRunning, DefaultMaxRunning)
	set(&v.MaxWaiting, DefaultMaxWaiting)
	set(&v.MaxWait, DefaultMaxWait)
	return v, nil
}

// set replaces a zero value.
func set[T comparable](v *T, fallback T) {
	var zero T
	if *v == zero {
		*v = fallback
	}
}

// bounded reports whether a call without a deadline gets one.
func (o *Options) bounded() bool { return o.Timeout != backends.NoExpiry }
