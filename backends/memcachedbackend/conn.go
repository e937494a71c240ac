package memcachedbackend

import (
	"context"
	"net"
	"time"
)

// pollEvery is how long a blocked read or write goes on before it looks whether
// its call has ended. It is a fraction of the 100 ms that package backends
// allows, and costs a waiting call 40 wake-ups a second.
const pollEvery = 25 * time.Millisecond

// conn is the connection of one session. It ends with the call that it serves,
// whose context gomemcache does not know, and it follows each answer to its
// end, so that none is left over for another call. One goroutine at a time uses
// it.
//
// A connection that is closed with an unanswered request is reset (SO_LINGER
// 0): after an orderly close the kernel would go on sending what it has
// buffered, for minutes if the network is away, and an abandoned write would
// land late.
type conn struct {
	net.Conn
	// opaque connections (TLS) cannot resume a write that timed out.
	opaque bool

	ctx    context.Context
	limit  time.Time
	answer answer

	asked  bool  // a request was sent, or a part of one, and is not answered to its end
	heard  bool  // some of the answer has come
	spoilt bool  // more has come than the answer
	closed bool  // by gomemcache or by its session
	err    error // what ended it
}

// serve makes the connection end with ctx, but at limit at the latest.
func (c *conn) serve(ctx context.Context, limit time.Time) error {
	c.ctx, c.limit = ctx, limit
	c.heard = false
	return c.Conn.SetDeadline(c.step(time.Now()))
}

// step returns the end of the next step on the way to the limit.
func (c *conn) step(now time.Time) time.Time {
	if c.ctx.Done() == nil {
		return c.limit
	}
	if next := now.Add(pollEvery); next.Before(c.limit) {
		return next
	}
	return c.limit
}

// expect says what the answer to the next request looks like.
func (c *conn) expect(k kind, limit int) {
	c.answer = answer{kind: k, limit: limit, part: c.answer.part[:0]}
}

// SetDeadline does nothing: gomemcache sets deadlines that are not the call's.
func (c *conn) SetDeadline(time.Time) error { return nil }

func (c *conn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if n > 0 {
			return c.hear(p[:n])
		}
		if !isTimeout(err) {
			return 0, c.end(err)
		}
		next, err := c.goOn(err)
		if err == nil {
			err = c.Conn.SetReadDeadline(next)
		}
		if err != nil {
			return 0, c.end(err)
		}
	}
}

// hear passes on the bytes of the answer and no more.
func (c *conn) hear(p []byte) (int, error) {
	c.heard = true
	n, err := c.answer.take(p)
	if err != nil {
		return 0, c.end(err)
	}
	if c.answer.done {
		c.asked = false
	}
	if n < len(p) {
		c.spoilt = true
	}
	return n, nil
}

func (c *conn) Write(p []byte) (int, error) {
	c.asked = true
	if c.opaque {
		return c.writeOpaque(p)
	}
	written := 0
	for {
		n, err := c.Conn.Write(p[written:])
		written += n
		if err == nil {
			return written, nil
		}
		if !isTimeout(err) {
			return written, c.end(err)
		}
		next, err := c.goOn(err)
		if err == nil {
			err = c.Conn.SetWriteDeadline(next)
		}
		if err != nil {
			return written, c.end(err)
		}
	}
}

// writeOpaque ends a blocked write from outside.
func (c *conn) writeOpaque(p []byte) (int, error) {
	if err := c.Conn.SetWriteDeadline(c.limit); err != nil {
		return 0, c.end(err)
	}
	stop := context.AfterFunc(c.ctx, func() { _ = c.Conn.SetWriteDeadline(time.Unix(1, 0)) })
	n, err := c.Conn.Write(p)
	if !stop() && err == nil {
		err = c.ctx.Err() // the deadline in the past may strike yet
	}
	return n, c.end(err)
}

// goOn is asked when a step has passed without progress. It returns the end of
// the next one, or why there is none: the call has ended, or its time is over.
func (c *conn) goOn(timeout error) (time.Time, error) {
	if err := c.ctx.Err(); err != nil {
		return time.Time{}, err
	}
	now := time.Now()
	if !now.Before(c.limit) {
		return time.Time{}, timeout
	}
	return c.step(now), nil
}

// end keeps the first error.
func (c *conn) end(err error) error {
	if c.err == nil {
		c.err = err
	}
	return err
}

// usable reports whether another call may have the connection.
func (c *conn) usable() bool { return !c.closed && !c.asked && !c.spoilt && c.err == nil }

// alive looks whether the server has closed an idle connection, or sent
// something that nobody asked for.
func (c *conn) alive() bool {
	if c.Conn.SetReadDeadline(time.Now().Add(200*time.Microsecond)) != nil {
		return false
	}
	var one [1]byte
	n, err := c.Conn.Read(one[:])
	return n == 0 && isTimeout(err)
}

// Close closes the connection, and resets it if an answer is outstanding.
func (c *conn) Close() error {
	if c.closed {
		return nil
	}
	c.closed = true
	if c.asked && c.reset() {
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
