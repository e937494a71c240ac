package backends

import (
	"context"
	"math"
	"time"
)

// NoExpiry is the TTL of an entry that stays until it is deleted or evicted.
// It is the largest duration, so a saturated computation means "for ever" too.
const NoExpiry = time.Duration(math.MaxInt64)

// Backend stores bytes under a key for a time.
//
// Keys have passed [CheckKey] and the rules that the backend declares itself.
// All methods are safe for concurrent use and honour their context as the
// package documentation says.
type Backend interface {
	// Get returns the value stored under key. The caller owns the slice. A
	// missing or expired entry is ErrNotFound.
	Get(ctx context.Context, key string) ([]byte, error)

	// Set stores value under key, replacing what was there. ttl is positive,
	// or NoExpiry; anything else is refused with ErrTTL. A storage with a
	// coarser clock rounds up, never down, and never to "no expiry". The
	// backend reads value until Set returns and keeps no reference to it
	// afterwards, not even when the call is abandoned. When Set returns nil the
	// value is stored; when it returns an error the outcome is unknown.
	Set(ctx context.Context, key string, value []byte, ttl time.Duration) error

	// Delete removes the entry and reports whether there was one, as far as
	// the storage can tell.
	Delete(ctx context.Context, key string) (existed bool, err error)

	// Exists reports whether an unexpired entry is stored under key. It does
	// not transfer or authenticate the value.
	Exists(ctx context.Context, key string) (bool, error)

	// Health makes one round trip to the storage and reports on it.
	Health(ctx context.Context) Health

	// Close releases what the backend itself opened; a client that was passed
	// in stays open. Close may be called more than once. Calls after Close
	// return ErrClosed; calls under way end with it, or by themselves.
	Close() error
}

// Health is what a backend says of itself.
type Health struct {
	// OK is true if the round trip succeeded. It is false exactly if Err is
	// not nil.
	OK bool
	// Latency is how long the round trip took, also when it failed.
	Latency time.Duration
	// BackendType names the kind of storage: "redis", "file", ...
	BackendType string
	// Details are facts for a person to read: server version, entries,
	// bytes. They never hold a credential.
	Details map[string]string
	// Err says why OK is false.
	Err error
}

// Entry is a stored value with what the storage knows of its age.
type Entry struct {
	// Value is owned by the caller.
	Value []byte
	// TTL is the time left to live: positive, NoExpiry, or 0 if the storage
	// cannot tell.
	TTL time.Duration
	// Stale is true if the storage served an entry past its fresh window
	// (CachekitIO's stale-while-revalidate). No copy may be made of it.
	Stale bool
	// Bounded is true if the storage said for how long a copy of this entry
	// may be served: FreshFor, which may be 0. If it is false, FreshFor means
	// nothing.
	Bounded  bool
	FreshFor time.Duration
}
