package httpbackend

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/cachekit-io/cachekit-go/backends"
)

const (
	// DefaultTimeout is that of cachekit-py and cachekit-rs.
	DefaultTimeout = 5 * time.Second
	// DefaultMaxValueBytes is that of redisbackend.
	DefaultMaxValueBytes = 64 << 20
)

// Options adjusts a Backend; nil or zero values are the defaults. They are
// copied.
type Options struct {
	// PlainHTTP allows http beside https. Whoever is on the way can then read
	// keys and credentials, and drop or replay entries; values stay sealed.
	PlainHTTP bool
	// PrivateNetwork allows loopback and private addresses (RFC 1918, RFC 4193,
	// RFC 6598). Link-local addresses stay refused.
	PrivateNetwork bool

	// Methods are the methods of the requests.
	Methods Methods
	// Header is sent with every request. It is no place for secrets, because it
	// prints.
	Header http.Header
	// Credential authenticates every request.
	Credential Credential
	// Authorize may set headers of each request, for credentials that change. It
	// is called by many goroutines at once. Its error fails the call with kind
	// Auth; the text of the error is not shown.
	Authorize func(ctx context.Context, header http.Header) error

	// TTLHeader names the header that tells the server the TTL of a write.
	TTLHeader string
	// TTLFormat is how the TTL is written, in TTLHeader, in place of {ttl}, and
	// in RemainingHeader. Default Seconds. An entry without expiry is written
	// without header and parameter.
	TTLFormat Format
	// RemainingHeader names the header of an answer to GET that holds the TTL
	// left. Default: the server does not tell.
	RemainingHeader string
	// StoreExpires says that the server expires entries by a rule of its own, and
	// that the TTL of a write may be dropped.
	StoreExpires bool

	// Status changes what answers mean; see [Outcome].
	Status map[int]Outcome
	// KeyRules are the server's own rules for keys, beyond the names that package
	// backends and the URL syntax refuse. Default: none.
	KeyRules backends.KeyRules
	// HealthPath is the path that Health asks for with GET, on the same host; an
	// answer in the 200s is good. Default: the entry of a key that nobody uses.
	HealthPath string

	// MaxValueBytes is the largest value that a call sends or reads. A larger one
	// is an error of kind TooLarge, on a read before memory is allocated for it.
	// Default 64 MiB.
	MaxValueBytes int
	// Timeout bounds each call besides its context. Default 5 s.
	Timeout time.Duration
	// PingAfter is how long an HTTP/2 connection may be silent before it is
	// pinged, PingTimeout how long the answer may take before the connection is
	// given up. Defaults 500 ms and 1 s.
	PingAfter, PingTimeout time.Duration
	// MaxConns bounds the connections to a server that speaks HTTP/1.1. Default
	// 64.
	MaxConns int

	// RootCAs are the authorities that may sign the server's certificate.
	// Default: those of the system.
	RootCAs *x509.CertPool
	// ClientCertificate authenticates the client to the server.
	ClientCertificate *tls.Certificate
	// Proxy is an http or https proxy to tunnel through, for https URLs. It
	// resolves the name of the server itself, which cannot be checked then. A
	// password in it is sent to the proxy; it does not print with the Options.
	Proxy *url.URL
	// DialContext opens the TCP connections. Where they went to is checked all
	// the same.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// Methods are the methods of the requests. Defaults GET, PUT, DELETE and HEAD.
type Methods struct {
	Get, Set, Delete string
	// Exists may be GET where the server does not know HEAD.
	Exists string
}

// OptionsError refuses Options that cannot work. Its text holds nothing of a URL
// or of a credential.
type OptionsError struct {
	Reason string
}

// Error says what is wrong.
func (e *OptionsError) Error() string { return "httpbackend: " + e.Reason }

func (o *Options) withDefaults() (Options, error) {
	var v Options
	if o != nil {
		v = *o
	}
	or(&v.Methods.Get, http.MethodGet)
	or(&v.Methods.Set, http.MethodPut)
	or(&v.Methods.Delete, http.MethodDelete)
	or(&v.Methods.Exists, http.MethodHead)
	or(&v.TTLFormat, Seconds)
	or(&v.MaxValueBytes, DefaultMaxValueBytes)
	or(&v.Timeout, DefaultTimeout)
	if reason := v.reason(); reason != "" {
		return v, &OptionsError{reason}
	}
	return v, nil
}

func or[T comparable](p *T, fallback T) {
	var zero T
	if *p == zero {
		*p = fallback
	}
}

// reason returns what is wrong with o.
func (o *Options) reason() string {
	for _, m := range []string{o.Methods.Get, o.Methods.Set, o.Methods.Delete, o.Methods.Exists} {
		if !httpguts.ValidHeaderFieldName(m) || m == http.MethodConnect {
			return "Options.Methods holds what is no method"
		}
	}
	for name, values := range o.Header {
		if !settable(name) || slices.ContainsFunc(values, func(v string) bool { return !httpguts.ValidHeaderFieldValue(v) }) {
			return "Options.Header holds a header that is not valid, or that this package sets itself"
		}
	}
	for status, outcome := range o.Status {
		if status < 200 || status > 999 || outcome < Success || outcome > TooLarge {
			return "Options.Status holds a status below 200 or an unknown outcome"
		}
	}
	switch {
	case o.TTLHeader != "" && !settable(o.TTLHeader):
		return "Options.TTLHeader is not a header that can be set"
	case o.TTLHeader != "" && o.StoreExpires:
		return "Options.TTLHeader and Options.StoreExpires exclude each other"
	case o.TTLFormat > UnixSeconds:
		return "Options.TTLFormat is unknown"
	case o.MaxValueBytes < 0 || o.Timeout < 0 || o.PingAfter < 0 || o.PingTimeout < 0 || o.MaxConns < 0:
		return "a number in Options is negative"
	case o.HealthPath != "" && !validPath(o.HealthPath):
		return "Options.HealthPath is not an escaped path that begins with one slash"
	case o.Proxy != nil && (o.Proxy.Scheme != "http" && o.Proxy.Scheme != "https" || o.Proxy.Host == ""):
		return "Options.Proxy is not an http or https URL"
	case o.Proxy != nil && o.DialContext != nil:
		return "Options.Proxy and Options.DialContext exclude each other"
	}
	return o.Credential.reason()
}

// settable reports whether a header is valid and left to the program.
func settable(name string) bool {
	taken := []string{"Host", "Content-Length", "Transfer-Encoding", "Connection", "Trailer", "Te", "Upgrade", "Keep-Alive",
		"Proxy-Connection", "Accept-Encoding", "Content-Encoding", "Range", "If-Range", "Expect"}
	return httpguts.ValidHeaderFieldName(name) && !slices.Contains(taken, http.CanonicalHeaderKey(name))
}

func validPath(p string) bool {
	u, err := url.ParseRequestURI(p)
	return err == nil && u.Host == "" && u.Scheme == "" && u.RequestURI() == p && (len(p) < 2 || p[1] != '/')
}
