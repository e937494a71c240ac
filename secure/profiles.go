package secure

import (
	"context"
	"time"
)

// profile is what distinguishes the constructors (spec/intent-presets.md has
// the TTLs; that every one of them encrypts is this package's own rule).
type profile struct {
	name       string
	ttl        time.Duration
	swr        bool
	reliable   bool // wraps its backend in package resilient
	sealedOnly bool // refuses Options.Plaintext
	ownBackend bool // refuses Options.Backend
}

var (
	profileSecure     = profile{name: "secure", ttl: 600 * time.Second, swr: true, reliable: true, sealedOnly: true}
	profileProduction = profile{name: "production", ttl: 600 * time.Second, swr: true, reliable: true}
	profileMinimal    = profile{name: "minimal", ttl: 300 * time.Second}
	profileIO         = profile{name: "io", ttl: 3600 * time.Second, swr: true, reliable: true, ownBackend: true}
)

// New builds a cache of the secure profile: TTL 600 s, in-process layer on
// (ciphertext only), stale-while-revalidate on, encryption not negotiable. The
// backend is wrapped in package resilient: retries, a circuit breaker, a bound
// on concurrent calls.
//
// It needs a backend and a master key, both from opts or from the environment.
// ctx bounds the construction alone. The error is ErrConfig, or ErrUnavailable
// if a backend that the environment selects does not answer.
//
// When the backend cannot be reached, Get, Set and Delete return
// ErrUnavailable; GetOrLoad runs the loader, returns its value and reports the
// outage to the logger; what it loads then is not kept. Copies of the in-process
// layer are served to the end of their lives. A backend that is back is used
// again without a restart: at once, or a few seconds later if the circuit had
// opened. An entry that fails authentication is ErrAuth from every one of them,
// and no loader runs, unless Options.OnTamper says so.
func New(ctx context.Context, opts *Options) (*Cache, error) {
	return build(ctx, profileSecure, opts)
}

// NewProduction is New except that Options.Plaintext is allowed. Unlike the
// production preset of the sister SDKs it encrypts unless told otherwise.
func NewProduction(ctx context.Context, opts *Options) (*Cache, error) {
	return build(ctx, profileProduction, opts)
}

// NewMinimal builds a cache with a TTL of 300 s, without
// stale-while-revalidate and without the reliability stack: a call that fails is
// not retried, and each waits for a dead backend anew. Options.Plaintext is allowed; unlike the minimal
// preset of the sister SDKs it encrypts unless told otherwise.
func NewMinimal(ctx context.Context, opts *Options) (*Cache, error) {
	return build(ctx, profileMinimal, opts)
}

// NewIO builds a cache over the CachekitIO service, with a TTL of 3600 s. It
// takes the API key from Options.APIKey or CACHEKIT_API_KEY, whatever else the
// environment selects, and refuses Options.Backend. Options.Plaintext is
// allowed; unlike the io preset of the sister SDKs it encrypts unless told
// otherwise.
//
// The service's word on the age of an entry bounds its in-process copy. With
// CachekitIO.StaleTTL, GetOrLoad serves an entry that the service hands out past
// its TTL while one process loads it anew; a failure of that load shows in the
// log and in Stats alone.
func NewIO(ctx context.Context, opts *Options) (*Cache, error) {
	return build(ctx, profileIO, opts)
}
