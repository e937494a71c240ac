package memcachedbackend

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

// idleCheck is how long a connection has to have been unused to be looked at
// before it is used again.
const idleCheck = time.Second

// server is one memcached and its idle connections. As a net.Addr it is what
// ring picks.
type server struct {
	network, name string
	opts          *Options

	mu     sync.Mutex
	idle   []*session // the last one was used last
	closed bool
}

// Network returns "tcp" or "unix".
func (s *server) Network() string { return s.network }

// String returns the address.
func (s *server) String() string { return s.name }

// session is a connection with a gomemcache client of its own. gomemcache hands
// a connection nothing of the call it serves; one client for each connection,
// and one call at a time, makes clear which call that is.
type session struct {
	*conn
	client *memcache.Client
	r      *bufio.Reader // of answers that gomemcache does not read
	w      *bufio.Writer
	used   time.Time
}

// take returns an idle session, or a new one. reused tells which.
func (s *server) take(ctx context.Context, limit time.Time) (se *session, reused bool, err error) {
	for {
		se := s.pop()
		if se == nil {
			break
		}
		if time.Since(se.used) > idleCheck && !se.alive() || se.serve(ctx, limit) != nil {
			_ = se.Close()
			continue
		}
		return se, true, nil
	}
	se, err = s.dial(ctx, limit)
	return se, false, err
}

func (s *server) pop() *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.idle) - 1
	if last < 0 {
		return nil
	}
	se := s.idle[last]
	s.idle[last] = nil
	s.idle = s.idle[:last]
	return se
}

// put takes a session back, or closes it if no other call may have it.
func (s *server) put(se *session) {
	if se.usable() {
		se.used = time.Now()
		se.ctx = nil
		s.mu.Lock()
		keep := !s.closed && len(s.idle) < s.opts.MaxIdleConns
		if keep {
			s.idle = append(s.idle, se)
		}
		s.mu.Unlock()
		if keep {
			return
		}
	}
	_ = se.Close()
}

func (s *server) close() {
	s.mu.Lock()
	idle := s.idle
	s.idle, s.closed = nil, true
	s.mu.Unlock()
	for _, se := range idle {
		_ = se.Close()
	}
}

func (s *server) dial(ctx context.Context, limit time.Time) (*session, error) {
	within, cancel := context.WithDeadline(ctx, limit)
	defer cancel()
	socket, err := s.opts.DialContext(within, s.network, s.name)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: socket}
	if s.opts.TLS != nil {
		if c.Conn, err = s.handshake(within, socket); err != nil {
			return nil, err
		}
		c.opaque = true
	}
	if err := c.serve(ctx, limit); err != nil {
		_ = c.Close()
		return nil, err
	}
	return newSession(s, c), nil
}

func (s *server) handshake(ctx context.Context, socket net.Conn) (net.Conn, error) {
	config := s.opts.TLS
	if config.ServerName == "" {
		config = config.Clone()
		config.ServerName, _, _ = net.SplitHostPort(s.name)
	}
	secure := tls.Client(socket, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = socket.Close()
		return nil, err
	}
	return secure, nil
}

var errOneConnection = errors.New("memcachedbackend: a session has one connection")

func newSession(s *server, c *conn) *session {
	client := memcache.NewFromSelector(only{s})
	client.MaxIdleConns = 1
	first := true
	client.DialContext = func(context.Context, string, string) (net.Conn, error) {
		if !first {
			return nil, errOneConnection
		}
		first = false
		return c, nil
	}
	return &session{conn: c, client: client}
}

// only selects one server for every key.
type only struct{ s *server }

func (o only) PickServer(string) (net.Addr, error) { return o.s, nil }
func (o only) Each(f func(net.Addr) error) error   { return f(o.s) }
