package secure

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/codec"
	"github.com/cachekit-io/cachekit-go/internal/envelope"
	"github.com/cachekit-io/cachekit-go/internal/flight"
)

// The classes of failure. They exclude each other; a miss is none of them.
var (
	// ErrAuth: the stored bytes did not authenticate. They were tampered with
	// or truncated, moved from another key, namespace or tenant, sealed under a
	// key that is not in the keyring, written in another interop mode, or never
	// sealed (an SDK of the family stores plaintext unless told otherwise).
	// AES-GCM cannot tell these apart. It is a security event, never a miss.
	ErrAuth = errors.New("entry failed authentication: it was tampered with, moved, " +
		"sealed under another key, tenant or mode, or written by a client that does not encrypt")
	// ErrMalformed: the entry authenticated (or the cache has
	// Options.Plaintext), but it is not one well-formed MessagePack document
	// within the bounds.
	ErrMalformed = errors.New("entry is malformed")
	// ErrType: the value does not fit its Go type, on the way in or out.
	ErrType = errors.New("value does not fit the Go type")
	// ErrUnavailable: the backend could not be reached or did not answer. The
	// outcome of a write that failed so is unknown.
	ErrUnavailable = errors.New("backend is unavailable")
	// ErrBackend: the backend refused the call; the *backends.Error in the
	// chain says why.
	ErrBackend = errors.New("backend refused the call")
	// ErrClosed: the cache was closed.
	ErrClosed = errors.New("cache is closed")
	// ErrConfig: the options or the environment do not add up; nothing was
	// built. The text says what to change.
	ErrConfig = errors.New("secure: configuration")
	// ErrTooLarge: a value is larger than Options.MaxValueBytes or than the
	// backend can hold.
	ErrTooLarge = errors.New("value is too large")
	// ErrTTL: a TTL is zero or negative; use NoExpiry to keep an entry.
	ErrTTL = errors.New("ttl must be positive, or secure.NoExpiry")
	// ErrKey: the key cannot be stored; a *backends.KeyError in the chain says
	// why.
	ErrKey = errors.New("invalid key")
	// ErrAbsent: the loader says that there is no value. A loader returns it to
	// have that remembered for Options.NegativeTTL; GetOrLoad returns it then.
	ErrAbsent = errors.New("secure: there is no such value")
)

// PanicError is what the callers of a load get whose loader panicked. Its text
// names the type of the panic value only; fields Value and Stack have the rest.
type PanicError = flight.PanicError

// Error is a failed operation on one entry. Its text names the operation and
// the entry's label, never its key.
type Error struct {
	// Op is the operation: "get", "set", "delete", ...
	Op string
	// Entry is a short keyed hash of the storage key, the same in logs and in
	// every process that holds the same current master key and tenant; "" if
	// the failure is not about one entry.
	Entry string
	// Err is the cause; one of the sentinels above is in its chain, or the
	// error of a context.
	Err error
}

// Error names the operation, the entry's label and the cause.
func (e *Error) Error() string {
	if e.Entry == "" {
		return fmt.Sprintf("secure: %s: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("secure: %s entry %s: %v", e.Op, e.Entry, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// BatchError says which keys of a batch failed. The other keys succeeded. Its
// text and every other way of printing it hold no key.
type BatchError struct {
	op string
	// errs sits behind a function so that no formatting verb prints the keys.
	errs func() map[string]error
}

func newBatchError(op string, errs map[string]error) error {
	if len(errs) == 0 {
		return nil
	}
	return &BatchError{op, func() map[string]error { return errs }}
}

// Errors returns the error of each failed key. The map is the caller's.
func (e *BatchError) Errors() map[string]error { return maps.Clone(e.errs()) }

// Error says how many keys failed, and one of the reasons.
func (e *BatchError) Error() string {
	errs := e.Unwrap()
	return fmt.Sprintf("secure: %s: %d keys failed, one of them: %v", e.op, len(errs), errs[0])
}

// Unwrap returns the errors of the keys, in the order of the keys.
func (e *BatchError) Unwrap() []error {
	errs := e.errs()
	out := make([]error, 0, len(errs))
	for _, key := range slices.Sorted(maps.Keys(errs)) {
		out = append(out, errs[key])
	}
	return out
}

// classify puts the error of a lower layer into exactly one class. Errors of a
// context pass through.
func classify(err error) error {
	var backend *backends.Error
	var key *backends.KeyError
	var typ *codec.TypeError
	switch {
	case err == nil, errors.Is(err, ErrAbsent):
		return err
	case errors.Is(err, envelope.ErrAuth):
		return ErrAuth
	case errors.Is(err, backends.ErrClosed), errors.Is(err, flight.ErrClosed):
		return ErrClosed
	case errors.As(err, &key):
		return fmt.Errorf("%w: %w", ErrKey, err)
	case errors.Is(err, backends.ErrTTL):
		return fmt.Errorf("%w: %w", ErrTTL, err)
	case errors.As(err, &backend):
		return classifyBackend(backend.Kind, err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, ErrType):
		return err
	case errors.As(err, &typ):
		return fmt.Errorf("%w: %w", ErrType, err)
	case errors.Is(err, codec.ErrMalformed):
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return err
}

func classifyBackend(kind backends.Kind, err error) error {
	class := ErrUnavailable
	switch kind {
	case backends.TooLarge:
		class = ErrTooLarge
	case backends.Permanent, backends.Auth:
		class = ErrBackend
	}
	if errors.Is(err, class) {
		return err // it has been classified before
	}
	return fmt.Errorf("%w: %w", class, err)
}
