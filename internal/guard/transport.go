package guard

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

const (
	// maxHeaderBytes bounds the headers of an answer.
	maxHeaderBytes = 64 << 10
	// idleTimeout is when an unused connection is closed.
	idleTimeout = 90 * time.Second
)

// Config says how to reach an origin. Zero values are the defaults.
type Config struct {
	// Rules judge the addresses that are connected to. The URL of the origin has
	// passed Rules.Parse.
	Rules Rules
	// Timeout bounds each call besides its context. Default 5 s.
	Timeout time.Duration
	// ConnectTimeout bounds the making of a connection, TLS included. Default
	// Timeout.
	ConnectTimeout time.Duration
	// PingAfter is how long an HTTP/2 connection may be silent before it is
	// pinged, PingTimeout how long the answer may take before the connection
	// counts as dead. Defaults 500 ms and 1 s.
	PingAfter, PingTimeout time.Duration
	// MaxConns bounds the connections to a server that speaks HTTP/1.1. Default
	// 64.
	MaxConns int
	// RootCAs are the authorities that are trusted. Default: the system's.
	RootCAs *x509.CertPool
	// ClientCertificate authenticates the client. Default none.
	ClientCertificate *tls.Certificate
	// Proxy is the http or https proxy to tunnel through; its credentials go to
	// the proxy. It resolves the origin's name itself, so the rules judge the
	// text of the URL alone. The origin must be https. Default none; the
	// environment is not read.
	Proxy *url.URL
	// Resolver looks up names. Default: net.DefaultResolver.
	Resolver *net.Resolver
	// Dial makes the connections, in place of the proxy and the resolver. The
	// address that a connection went to is judged before anything is sent,
	// unless it comes from Admit.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Transport makes calls to one origin. It is safe for concurrent use.
type Transport struct {
	config Config
	origin url.URL
	addr   string
	tls    *tls.Config
	pool   *pool // nil for http
	http1  *http.Transport
	spare  chan *tls.Conn // the connection that showed that the server speaks HTTP/1.1

	life context.Context
	end  context.CancelFunc

	closed atomic.Bool

	mu    sync.Mutex // and of setting closed
	conns map[*conn]struct{}
}

// New returns a Transport to the scheme and host of origin. It does no I/O.
func New(origin *url.URL, config Config) *Transport {
	t := &Transport{
		config: config.withDefaults(),
		origin: url.URL{Scheme: origin.Scheme, Host: origin.Host},
		addr:   hostPort(origin),
		spare:  make(chan *tls.Conn, 1),
		conns:  map[*conn]struct{}{},
	}
	t.life, t.end = context.WithCancel(context.Background())
	t.tls = &tls.Config{
		MinVersion:         tls.VersionTLS12,
		RootCAs:            config.RootCAs,
		ServerName:         origin.Hostname(),
		ClientSessionCache: tls.NewLRUClientSessionCache(4),
	}
	if config.ClientCertificate != nil {
		t.tls.Certificates = []tls.Certificate{*config.ClientCertificate}
	}
	t.http1 = &http.Transport{
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return orNil(t.dial(ctx)) },
		DialTLSContext:         t.dialHTTP1,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeaderBytes,
		MaxIdleConnsPerHost:    t.config.MaxConns,
		MaxConnsPerHost:        t.config.MaxConns,
		IdleConnTimeout:        idleTimeout,
		Protocols:              new(http.Protocols),
	}
	t.http1.Protocols.SetHTTP1(true)
	if origin.Scheme == "https" {
		t.pool = newPool(t)
	}
	return t
}

// orNil keeps a nil *conn from becoming a net.Conn that is not nil.
func orNil(c *conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (c Config) withDefaults() Config {
	or(&c.Timeout, 5*time.Second)
	or(&c.ConnectTimeout, c.Timeout)
	or(&c.PingAfter, 500*time.Millisecond)
	or(&c.PingTimeout, time.Second)
	or(&c.MaxConns, 64)
	return c
}

func or[T comparable](p *T, fallback T) {
	var zero T
	if *p == zero {
		*p = fallback
	}
}

func (t *Transport) dialHTTP1(ctx context.Context, _, _ string) (net.Conn, error) {
	select {
	case c := <-t.spare:
		return c, nil
	default:
	}
	c, _, err := t.dialTLS(ctx, "http/1.1")
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (t *Transport) remember(c *conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	open := !t.closed.Load()
	if open {
		t.conns[c] = struct{}{}
	}
	return open
}

func (t *Transport) forget(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.conns, c)
}

// Close ends every call and every connection. Calls after it return
// backends.ErrClosed. It may be called more than once.
func (t *Transport) Close() {
	t.mu.Lock()
	t.closed.Store(true)
	var open []*conn
	for c := range t.conns {
		open = append(open, c)
	}
	t.mu.Unlock()
	t.end()
	for _, c := range open {
		_ = c.Close()
	}
	t.http1.CloseIdleConnections()
}

func (t *Transport) isClosed() bool { return t.closed.Load() }

var errClosed = backends.ErrClosed
