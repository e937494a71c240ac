package redisbackend

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// errAbandoned is what a connection answers after its call was given up.
var errAbandoned = errors.New("redis: the call was abandoned")

// longAgo ends I/O that is already blocked.
var longAgo = time.Unix(1, 0)

// conn is a connection that knows which call it serves, so that this call, and
// no other, can be torn off it. go-redis sets the deadline of the call on the
// connection before it writes; the time zone of that deadline names the call
// (see watch). An abandoned connection fails for good, and go-redis closes it.
//
// A connection that is closed with an unanswered request is reset (SO_LINGER
// 0): after an orderly close the kernel would go on sending what it has
// buffered, for minutes if the network is away, and an abandoned write would
// land late.
type conn struct {
	net.Conn
	watch *watch

	mu         sync.Mutex
	owner      *call
	dead       bool
	unanswered bool
}

// plainConn is a conn whose socket go-redis may peek at, to see whether an idle
// connection is still alive. A TLS connection has no such shortcut.
type plainConn struct {
	*conn
	syscall.Conn
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return errAbandoned
	}
	c.owner = c.watch.call(t)
	if c.owner != nil && !c.owner.attach(c) {
		c.kill()
		return errAbandoned
	}
	return c.Conn.SetWriteDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return errAbandoned
	}
	return c.Conn.SetReadDeadline(t)
}

func (c *conn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return errAbandoned
	}
	return c.Conn.SetDeadline(t)
}

func (c *conn) Write(b []byte) (int, error) {
	c.mu.Lock()
	dead := c.dead
	c.unanswered = true
	c.mu.Unlock()
	if dead {
		return 0, errAbandoned
	}
	return c.Conn.Write(b)
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return 0, errAbandoned
	}
	if n > 0 {
		c.unanswered = false
	}
	return n, err
}

func (c *conn) Close() error {
	c.mu.Lock()
	abort := c.dead || c.unanswered
	c.mu.Unlock()
	if abort {
		c.reset()
	}
	return c.Conn.Close()
}

// abandon tears owner off the connection, unless it serves another call by now.
func (c *conn) abandon(owner *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.owner == owner {
		c.kill()
	}
}

func (c *conn) kill() {
	c.dead = true
	_ = c.Conn.SetDeadline(longAgo)
}

// reset closes the socket below TLS: the farewell of TLS would wait for a
// stalled peer.
func (c *conn) reset() {
	inner := c.Conn
	for {
		if s, ok := inner.(interface{ SetLinger(sec int) error }); ok {
			_ = s.SetLinger(0)
			_ = inner.Close()
			return
		}
		wrapper, ok := inner.(interface{ NetConn() net.Conn })
		if !ok {
			return
		}
		inner = wrapper.NetConn()
	}
}

type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// dial makes the connections of dial known to w.
func (w *watch) dial(dial dialer) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		inner, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: inner, watch: w}
		if s, ok := inner.(syscall.Conn); ok {
			return plainConn{c, s}, nil
		}
		return c, nil
	}
}
