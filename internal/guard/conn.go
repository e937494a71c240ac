package guard

import (
	"net"
	"sync/atomic"
	"time"
)

// conn is a connection that is reset when it is closed while a write on it has
// no answer, so that the kernel does not go on delivering that write.
type conn struct {
	net.Conn
	t      *Transport
	h2     *clientConn // nil on HTTP/1.1
	used   atomic.Bool // by a call, on HTTP/2
	writes atomic.Int64
	closed atomic.Bool
}

// SetWriteDeadline is called by tls.Conn.Close alone, before a farewell that can
// block for 5 s on a connection that is dead.
func (c *conn) SetWriteDeadline(t time.Time) error {
	if c.writes.Load() > 0 {
		c.reset()
	}
	return c.Conn.SetWriteDeadline(t)
}

// Close closes the connection, or resets it.
func (c *conn) Close() error {
	if c.writes.Load() > 0 {
		c.reset()
		return nil
	}
	return c.close()
}

func (c *conn) close() error {
	if c.closed.Swap(true) {
		return nil
	}
	c.t.forget(c)
	return c.Conn.Close()
}

// reset drops what the peer's host has not received.
func (c *conn) reset() {
	for inner := c.Conn; ; {
		if s, ok := inner.(interface{ SetLinger(sec int) error }); ok {
			_ = s.SetLinger(0)
			break
		}
		wrapper, ok := inner.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		inner = wrapper.NetConn()
	}
	_ = c.close()
}

// rawOf returns the conn below c, which may be TLS.
func rawOf(c net.Conn) *conn {
	if wrapper, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = wrapper.NetConn()
	}
	raw, _ := c.(*conn)
	return raw
}

// admitted is a connection that the rules do not judge.
type admitted struct{ net.Conn }

// NetConn returns the connection inside.
func (a admitted) NetConn() net.Conn { return a.Conn }

// Admit exempts one connection, made by Config.Dial, from the check of its
// address. It is for the servers of tests: code outside this module cannot call
// it, so a dialer that a user passes in stays under the rules.
func Admit(c net.Conn) net.Conn { return admitted{c} }
