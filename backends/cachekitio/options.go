package cachekitio

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"time"
)

// Defaults of Options (spec/saas-api.md, "SDK Configuration").
const (
	DefaultURL        = "https://api.cachekit.io"
	DefaultTimeout    = 5 * time.Second
	DefaultMaxRetries = 3
	// DefaultMaxValueBytes leaves room above the 25 MB that the service stores
	// today, because only the service knows its limit.
	DefaultMaxValueBytes = 32 << 20
)

// Options configures a Backend. APIKey is required; everything else may be left
// at its zero value. Options are copied.
type Options struct {
	// APIKey authenticates every request.
	APIKey APIKey

	// URL is the root of the service: https, a host, perhaps a path; no
	// credentials, query or fragment. Default DefaultURL.
	URL string
	// AllowCustomHost permits hosts other than api.cachekit.io and
	// api.staging.cachekit.io. Private and loopback addresses stay refused, in
	// the URL and after name resolution.
	AllowCustomHost bool

	// Timeout bounds each call besides its context. Default 5 s.
	Timeout time.Duration
	// MaxRetries is how often package resilient may repeat a failed call of this
	// backend, which by itself repeats none. 0 is the default of 3, a negative
	// number means never.
	MaxRetries int
	// MaxValueBytes is the largest value that a call sends or reads. A larger
	// one is an error of kind TooLarge. Default 32 MiB.
	MaxValueBytes int

	// StaleTTL is how long past its TTL the service may hand out an entry, marked
	// stale, while a client replaces it. Every Set sends it (shortened so that
	// TTL and StaleTTL are 30 days at most together), but for entries without
	// expiry. Sub-second durations are rounded up, 30 days and more refused.
	// Default 0: an entry ends with its TTL.
	//
	// All readers of a key are affected, older SDKs too, which take a stale entry
	// for a fresh one: leave it off where the TTL is a bound of revocation.
	StaleTTL time.Duration

	// RootCAs are the authorities that may sign the service's certificate.
	// Default: those of the system.
	RootCAs *x509.CertPool
	// DialContext opens the TCP connection in place of a net.Dialer. The address
	// that it connected to is judged like any other, before anything is sent. It
	// excludes Proxy.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// Proxy is an http or https proxy to reach the service through. It resolves
	// the name of the service itself, so that the text of URL alone is judged.
	// Proxies of the environment are not used.
	Proxy *url.URL
}

// OptionsError refuses Options that cannot work. Its text never holds an API
// key or a URL.
type OptionsError struct {
	// Reason is the field and what is wrong with it.
	Reason string
}

// Error names the field and what is wrong with it.
func (e *OptionsError) Error() string { return "cachekitio: " + e.Reason }

func refused(format string, args ...any) error {
	return &OptionsError{fmt.Sprintf(format, args...)}
}

// withDefaults returns o with its defaults filled in, checked.
func (o *Options) withDefaults() (Options, error) {
	if o == nil {
		o = new(Options)
	}
	v := *o
	v.URL = or(v.URL, DefaultURL)
	v.Timeout = or(v.Timeout, DefaultTimeout)
	v.MaxRetries = max(or(v.MaxRetries, DefaultMaxRetries), 0)
	v.MaxValueBytes = or(v.MaxValueBytes, DefaultMaxValueBytes)
	switch {
	case v.APIKey.IsZero():
		return v, refused("Options.APIKey is missing: set it, or %s for FromEnv", envAPIKey)
	case v.Timeout < 0:
		return v, refused("Options.Timeout is negative")
	case v.MaxValueBytes < 0:
		return v, refused("Options.MaxValueBytes is negative")
	case v.StaleTTL < 0 || v.StaleTTL > (maxTTLSeconds-1)*time.Second:
		return v, refused("Options.StaleTTL must be 0 to %d seconds", maxTTLSeconds-1)
	case v.Proxy != nil && v.DialContext != nil:
		return v, refused("Options.Proxy and Options.DialContext exclude each other")
	}
	return v, nil
}

func or[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}
