package redisbackend

import (
	"context"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// pollEvery is how long a blocked read or write goes on before it looks whether
// its call has ended. It is a fraction of the 100 ms that package backends
// allows, and costs a waiting call 40 wake-ups a second.
const pollEvery = 25 * time.Millisecond

// conn is a connection that ends with the call it serves. go-redis sets the
// deadline of a call on the connection before it writes, and nothing else of the
// call; the time zone of that deadline names the call (see watch). Because only
// the goroutine of the call itself looks whether it has ended, a connection that
// went back to the pool cannot be hit by the end of a former call.
//
// A connection that is closed with an unanswered request is reset (SO_LINGER
// 0): after an orderly close the kernel would go on sending what it has
// buffered, for minutes if the network is away, and an abandoned write would
// land late.
type conn struct {
	net.Conn
	watch *watch
	// opaque connections (TLS) cannot resume a write that timed out.
	opaque bool

	serving    atomic.Pointer[call]
	readLimit  atomic.Int64 // Unix time in ns, 0 for none
	writeLimit atomic.Int64
	unanswered atomic.Bool
	// frames bounds what arrives. Only one goroutine reads at a time.
	frames frames
}

// plainConn is a conn whose socket go-redis may peek at, to see whether an idle
// connection is still alive. A TLS connection has no such shortcut.
type plainConn struct {
	*conn
	syscall.Conn
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.serving.Store(c.watch.call(t))
	c.writeLimit.Store(nanoseconds(t))
	return c.Conn.SetWriteDeadline(c.step(t))
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.readLimit.Store(nanoseconds(t))
	return c.Conn.SetReadDeadline(c.step(t))
}

func (c *conn) SetDeadline(t time.Time) error {
	c.writeLimit.Store(nanoseconds(t))
	c.readLimit.Store(nanoseconds(t))
	return c.Conn.SetDeadline(t)
}

// step returns the end of the next step on the way to limit.
func (c *conn) step(limit time.Time) time.Time {
	if c.serving.Load() == nil {
		return limit
	}
	if next := time.Now().Add(pollEvery); limit.IsZero() || next.Before(limit) {
		return next
	}
	return limit
}

func nanoseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func (c *conn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if n > 0 {
			c.unanswered.Store(false)
			if refused := c.frames.take(b[:n]); refused != nil {
				return 0, refused
			}
		}
		if n > 0 || !isTimeout(err) {
			return n, err
		}
		limit, err := c.goOn(c.readLimit.Load(), err)
		if err == nil {
			err = c.Conn.SetReadDeadline(limit)
		}
		if err != nil {
			return 0, err
		}
	}
}

func (c *conn) Write(b []byte) (int, error) {
	c.unanswered.Store(true)
	if serving := c.serving.Load(); c.opaque && serving != nil {
		return c.writeOpaque(serving, b)
	}
	written := 0
	for {
		n, err := c.Conn.Write(b[written:])
		written += n
		if err == nil || !isTimeout(err) {
			return written, err
		}
		limit, err := c.goOn(c.writeLimit.Load(), err)
		if err == nil {
			err = c.Conn.SetWriteDeadline(limit)
		}
		if err != nil {
			return written, err
		}
	}
}

// writeOpaque ends a blocked write from outside.
func (c *conn) writeOpaque(serving *call, b []byte) (int, error) {
	if err := c.Conn.SetWriteDeadline(serving.deadline); err != nil {
		return 0, err
	}
	stop := context.AfterFunc(serving, func() { _ = c.Conn.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	return c.Conn.Write(b)
}

// goOn is asked when a step has passed without progress. It returns the end of
// the next one, or why there is none: the call has ended, or its time is over.
func (c *conn) goOn(limit int64, timeout error) (time.Time, error) {
	serving := c.serving.Load()
	if serving == nil {
		return time.Time{}, timeout
	}
	if err := serving.Err(); err != nil {
		return time.Time{}, err
	}
	now := time.Now()
	if limit != 0 && now.UnixNano() >= limit {
		return time.Time{}, timeout
	}
	next := now.Add(pollEvery)
	if limit != 0 && next.UnixNano() > limit {
		next = time.Unix(0, limit)
	}
	return next, nil
}

func (c *conn) Close() error {
	if c.unanswered.Load() && c.reset() {
		_ = c.Conn.Close()
		return nil
	}
	return c.Conn.Close()
}

// reset closes the socket below TLS, whose farewell would wait for a stalled
// peer. It reports false if it finds no socket.
func (c *conn) reset() bool {
	inner := c.Conn
	for {
		if s, ok := inner.(interface{ SetLinger(sec int) error }); ok {
			_ = s.SetLinger(0)
			_ = inner.Close()
			return true
		}
		wrapper, ok := inner.(interface{ NetConn() net.Conn })
		if !ok {
			return false
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
		if s, ok := inner.(syscall.Conn); ok {
			return plainConn{&conn{Conn: inner, watch: w, frames: frames{limit: w.bulk}}, s}, nil
		}
		return &conn{Conn: inner, watch: w, frames: frames{limit: w.bulk}, opaque: true}, nil
	}
}
