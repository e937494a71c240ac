package backends

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

var (
	// ErrNotFound is a miss: no entry, or an expired one.
	ErrNotFound = errors.New("backends: entry not found")
	// ErrClosed is returned by every call on a closed backend.
	ErrClosed = errors.New("backends: backend is closed")
	// ErrTTL refuses a TTL that is neither positive nor NoExpiry.
	ErrTTL = errors.New("backends: ttl must be positive, or backends.NoExpiry")
	// ErrLocked says that another owner holds the lock.
	ErrLocked = errors.New("backends: lock is held by another owner")
)

// Kind classifies a failure by what the caller can do about it. The zero value
// is not a kind.
type Kind uint8

const (
	// Transient: the connection or server failed; a retry may succeed.
	Transient Kind = iota + 1
	// Timeout: the backend's own time limit ended the call; a retry may
	// succeed. A limit of the caller's context is the context's error instead.
	Timeout
	// Permanent: the same call will fail again (bad request, wrong type,
	// unsupported command, a quota that is spent until it is renewed).
	Permanent
	// Auth: the storage refused the credentials. This is not a failure to
	// authenticate an entry, which only package secure can see.
	Auth
	// TooLarge: the storage cannot hold a value of this size.
	TooLarge
	// Overload: too many calls are under way; nothing was sent.
	Overload
	// CircuitOpen: the circuit breaker refused the call; nothing was sent.
	CircuitOpen
)

// String returns the name of the kind in lower case.
func (k Kind) String() string {
	switch k {
	case Transient:
		return "transient"
	case Timeout:
		return "timeout"
	case Permanent:
		return "permanent"
	case Auth:
		return "auth"
	case TooLarge:
		return "too large"
	case Overload:
		return "overload"
	case CircuitOpen:
		return "circuit open"
	}
	return "invalid kind"
}

// Error is the failure of a storage. Its text never holds a key, a value or a
// credential; the cause stays reachable through errors.Is and errors.As.
type Error struct {
	// Op is the operation in lower case: "get", "set", "delete", ...
	Op string
	// Backend is the kind of storage: "redis", "file", ...
	Backend string
	// Kind says what the caller can do.
	Kind Kind
	// RetryAfter is how long the server asked to wait, 0 if it did not.
	RetryAfter time.Duration
	// Err is the cause. Its text is shown, so a backend puts nothing here
	// whose text could hold a secret or a key.
	Err error
}

// Error names the storage, the operation, the kind, the cause and, if the server
// asked for one, the wait.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %s failure", e.Backend, e.Op, e.Kind)
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	if e.RetryAfter > 0 {
		fmt.Fprintf(&b, " (the server asks to wait %v)", e.RetryAfter)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// IsOutage reports whether err says that the storage could not be reached or
// did not answer: a failure of kind Transient, Timeout, Overload or
// CircuitOpen. The end of the caller's own context is no outage, and neither
// are misses, refusals and authentication failures.
func IsOutage(err error) bool {
	if errors.Is(err, context.Canceled) {
		return false
	}
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Kind {
	case Transient, Timeout, Overload, CircuitOpen:
		return true
	}
	return false
}
