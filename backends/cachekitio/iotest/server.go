package iotest

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/cachekit-io/cachekit-go/backends/cachekitio"
	"github.com/cachekit-io/cachekit-go/internal/guard"
)

// Host is the name of the service that the server stands for by default.
const Host = "api.cachekit.io"

// maxRecorded bounds what Server.Requests remembers.
const maxRecorded = 4096

// Options configures a server; nil or zero is the default.
type Options struct {
	// Addr is where to listen, a host:port of a loopback address. Default
	// 127.0.0.1:0, which is a free port.
	Addr string
	// Host is the name in the certificate, to which DialContext and the proxy
	// lead. Default api.cachekit.io.
	Host string
	// Now is the server's clock before Advance. Default time.Now.
	Now func() time.Time
	// MaxValueBytes is the largest value; a larger one is 413. Default 25 MiB
	// (spec/saas-api.md says 25 MB and that it may change).
	MaxValueBytes int64
	// MaxBytes bounds all values together: beyond it other entries are evicted,
	// any of them, without a word, as the service may do. Default 1 GiB.
	MaxBytes int64
	// MaxStreams is how many requests one HTTP/2 connection carries at once.
	// Default: that of net/http, 250.
	MaxStreams int
}

// Server is a running service. Its methods are safe for concurrent use.
type Server struct {
	opts      Options
	authority authority
	key       string
	listener  *listener
	http      *http.Server
	done      chan struct{}
	running   sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	offset   time.Duration
	accounts map[digest]account
	tenants  map[string]*tenant
	bytes    int64
	faults   []*Fault
	healed   chan struct{} // closed by Heal: what stalls goes on
	recorded []Request
	proxy    *proxy
}

// Start starts a server. The error is that of listening, or says which option is
// wrong. The caller closes it.
func Start(opts *Options) (*Server, error) {
	o, err := opts.resolve()
	if err != nil {
		return nil, err
	}
	a, err := newAuthority(o.Host)
	if err != nil {
		return nil, fmt.Errorf("iotest: certificate: %w", err)
	}
	l, err := listen(o.Addr, a)
	if err != nil {
		return nil, fmt.Errorf("iotest: %w", err)
	}
	s := &Server{
		opts: o, authority: a, listener: l,
		done: make(chan struct{}), healed: make(chan struct{}),
		accounts: map[digest]account{}, tenants: map[string]*tenant{},
	}
	s.key = s.NewKey(cachekitio.SDK, "default")
	s.serve()
	return s, nil
}

func (o *Options) resolve() (Options, error) {
	var r Options
	if o != nil {
		r = *o
	}
	if r.Addr == "" {
		r.Addr = "127.0.0.1:0"
	}
	if r.Host == "" {
		r.Host = Host
	}
	if r.Now == nil {
		r.Now = time.Now
	}
	if r.MaxValueBytes == 0 {
		r.MaxValueBytes = 25 << 20
	}
	if r.MaxBytes == 0 {
		r.MaxBytes = 1 << 30
	}
	if r.MaxValueBytes < 0 || r.MaxBytes < 0 || r.MaxStreams < 0 {
		return r, errors.New("iotest: MaxValueBytes, MaxBytes and MaxStreams are 0 for their defaults, or positive")
	}
	host, _, err := net.SplitHostPort(r.Addr)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return r, fmt.Errorf("iotest: Addr must be a loopback address and a port: a test service with a certificate for %s has no place on a network", r.Host)
	}
	return r, nil
}

// serve runs net/http on the connections as they look after TLS: the listener
// does the handshakes itself, so that it can speak on an HTTP/2 connection out of
// turn.
func (s *Server) serve() {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s.http = &http.Server{
		Handler:     http.HandlerFunc(s.serveHTTP),
		Protocols:   protocols,
		HTTP2:       &http.HTTP2Config{MaxConcurrentStreams: s.opts.MaxStreams},
		ErrorLog:    log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
	}
	s.running.Go(func() { _ = s.http.Serve(s.listener) })
}

// Close stops the server and the proxy, ends every connection and waits for the
// requests under way. It may be called more than once.
func (s *Server) Close() {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	p := s.proxy
	s.mu.Unlock()
	if first {
		close(s.done)
		_ = s.listener.Close()
		s.listener.abortAll() // first, or TLS says farewell to clients that do not listen
		_ = s.http.Close()
		if p != nil {
			p.close()
		}
	}
	s.running.Wait()
}

// URL is the address that a client is configured with, https://api.cachekit.io.
func (s *Server) URL() string { return "https://" + s.opts.Host }

// Addr is the host:port of the loopback address where the server listens.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Options configures a client of cachekitio for the server: APIKey, RootCAs and
// DialContext. The client's rules for addresses stay as they are. Every call
// returns options of its own.
func (s *Server) Options() *cachekitio.Options {
	key, err := cachekitio.ParseAPIKey(s.key)
	if err != nil {
		panic(err) // the server issued it
	}
	return &cachekitio.Options{APIKey: key, URL: s.URL(), RootCAs: s.RootCAs(), DialContext: s.DialContext}
}

// APIKey is a ck_sdk_ key of the tenant "default" that may do everything its class may.
func (s *Server) APIKey() string { return s.key }

// RootCAs holds the server's own CA and no other.
func (s *Server) RootCAs() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.authority.root)
	return pool
}

// RootPEM is the certificate of the server's CA, for SSL_CERT_FILE. The caller
// owns the slice.
func (s *Server) RootPEM() []byte { return slices.Clone(s.authority.root) }

// DialContext connects to the server if addr is the service's host and port 443,
// and to nothing else. The connection is one that clients of this module accept
// although it goes to a loopback address; no dialer of a user can make such.
func (s *Server) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if want := net.JoinHostPort(s.opts.Host, "443"); addr != want {
		return nil, fmt.Errorf("iotest: this dialer leads to %s alone", want)
	}
	c, err := new(net.Dialer).DialContext(ctx, network, s.Addr())
	if err != nil {
		return nil, err
	}
	return guard.Admit(c), nil
}

// Advance moves the server's clock forward.
func (s *Server) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offset += d
}

// now is the server's clock. The caller holds mu.
func (s *Server) now() time.Time { return s.opts.Now().Add(s.offset) }

// Connections returns how many connections clients have open, and how many they
// have opened since the start. One that was lost in a black hole counts as open.
func (s *Server) Connections() (open, opened int) { return s.listener.counts() }

// Request is what a client asked for.
type Request struct {
	// Method and Proto are the request's: "GET", "HTTP/2.0".
	Method, Proto string
	// Endpoint is "value", "ttl", "lock" or "health"; "" is a path that the API
	// does not have.
	Endpoint string
	// Key is the decoded key; "" if there is none or it does not decode.
	Key string
	// Header is the request's, without Authorization. Do not modify it.
	Header http.Header
}

// Requests returns the last requests in the order of their arrival, at most 4096.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.recorded)
}

func (s *Server) record(r Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.recorded) == maxRecorded {
		s.recorded = slices.Delete(s.recorded, 0, maxRecorded/2)
	}
	s.recorded = append(s.recorded, r)
}
