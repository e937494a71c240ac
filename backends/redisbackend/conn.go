package redisbackend

import (
	"context"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/mono"
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

	serving     atomic.Pointer[call]
	read, write limit
	unanswered  atomic.Bool
	// frames bounds what arrives, unless its reader does: bounded. Only one
	// goroutine reads at a time.
	frames  frames
	bounded bool
}

// limit is a deadline of the call and how far the socket's own one has come on
// the way there, both by mono, 0 for none.
type limit struct {
	end, step atomic.Int64
}

// plainConn is a conn whose socket go-redis may peek at, to see whether an idle
// connection is still alive. A TLS connection has no such shortcut.
type plainConn struct {
	*conn
	socket syscall.Conn
}

// SyscallConn implements [syscall.Conn] for that peek, a system call for each
// command. A connection whose last step is not over was in use pollEvery ago at
// most, and is not asked, unless some connection has failed since. A step that is
// over must not fail the peek: go-redis would close the connection.
func (p plainConn) SyscallConn() (syscall.RawConn, error) {
	step := p.read.step.Load()
	if step > mono.Now() && p.watch.failed.Load() < step-int64(pollEvery) {
		return unasked{}, nil
	}
	p.read.step.Store(0)
	if err := p.Conn.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	return p.socket.SyscallConn()
}

// unasked is a socket that has nothing to say.
type unasked struct{}

func (unasked) Control(func(uintptr)) error    { return nil }
func (unasked) Read(func(uintptr) bool) error  { return nil }
func (unasked) Write(func(uintptr) bool) error { return nil }

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.serving.Store(c.watch.call(t))
	return c.approach(&c.write, t, c.Conn.SetWriteDeadline)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	return c.approach(&c.read, t, c.Conn.SetReadDeadline)
}

// SetDeadline takes a deadline away only from sockets that have it from somebody
// else: go-redis does so before each command, which then sets both again.
func (c *conn) SetDeadline(t time.Time) error {
	stepping := c.read.step.Load() != 0 && c.write.step.Load() != 0
	end := moment(t, time.Now())
	c.read.end.Store(end)
	c.write.end.Store(end)
	if t.IsZero() && stepping {
		return nil
	}
	c.read.step.Store(0)
	c.write.step.Store(0)
	return c.Conn.SetDeadline(t)
}

// serve makes c the connection of a call.
func (c *conn) serve(serving *call, now time.Time) error {
	c.serving.Store(serving)
	end := moment(serving.deadline, now)
	c.write.end.Store(end)
	c.read.end.Store(end)
	if err := c.write.approach(serving.deadline, now, c.Conn.SetWriteDeadline); err != nil {
		return err
	}
	return c.read.approach(serving.deadline, now, c.Conn.SetReadDeadline)
}

// approach sets the socket's deadline, by set, to the end of the next step on the
// way to end, unless one that is at least half as far is set already.
func (c *conn) approach(l *limit, end time.Time, set func(time.Time) error) error {
	now := time.Now()
	l.end.Store(moment(end, now))
	if c.serving.Load() == nil {
		l.step.Store(0)
		return set(end)
	}
	return l.approach(end, now, set)
}

func (l *limit) approach(end, now time.Time, set func(time.Time) error) error {
	next := now.Add(pollEvery)
	if !end.IsZero() && end.Before(next) {
		next = end
	}
	if step := l.step.Load(); step > mono.At(now, now)+int64(pollEvery/2) && step <= moment(next, now) {
		return nil
	}
	return l.advance(next, now, set)
}

func (l *limit) advance(next, now time.Time, set func(time.Time) error) error {
	l.step.Store(moment(next, now))
	return set(next)
}

// moment is a deadline as it is stored.
func moment(t, now time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return mono.At(t, now)
}

func (c *conn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if n > 0 {
			c.unanswered.Store(false)
			if c.bounded {
				return n, err
			}
			if refused := c.frames.take(b[:n]); refused != nil {
				return 0, refused
			}
			return n, err
		}
		if !isTimeout(err) {
			c.watch.failure()
			return n, err
		}
		next, err := c.goOn(c.read.end.Load(), err)
		if err == nil {
			err = c.read.advance(next, time.Now(), c.Conn.SetReadDeadline)
		}
		if err != nil {
			c.watch.failure()
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
		if written += n; err == nil {
			return written, nil
		}
		if err := c.writeOn(err); err != nil {
			return written, err
		}
	}
}

// vectored reports whether writeAll makes one system call of several slices. What
// wraps a socket may have a Write of its own.
func (c *conn) vectored() bool {
	switch c.Conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

// writeAll writes slices one after the other and takes from them what is written.
func (c *conn) writeAll(slices *net.Buffers) error {
	if !c.vectored() {
		for _, b := range *slices {
			if _, err := c.Write(b); err != nil {
				return err
			}
		}
		return nil
	}
	c.unanswered.Store(true)
	for {
		_, err := slices.WriteTo(c.Conn)
		if err == nil {
			return nil
		}
		if err := c.writeOn(err); err != nil {
			return err
		}
	}
}

// writeOn is asked when a write has ended with err. It returns nil if that was the
// end of a step, after which there is another.
func (c *conn) writeOn(err error) error {
	if isTimeout(err) {
		var next time.Time
		if next, err = c.goOn(c.write.end.Load(), err); err == nil {
			err = c.write.advance(next, time.Now(), c.Conn.SetWriteDeadline)
		}
	}
	if err != nil {
		c.watch.failure()
	}
	return err
}

// writeOpaque ends a blocked write from outside.
func (c *conn) writeOpaque(serving *call, b []byte) (int, error) {
	c.write.step.Store(0)
	if err := c.Conn.SetWriteDeadline(serving.deadline); err != nil {
		return 0, err
	}
	struck := make(chan struct{})
	stop := context.AfterFunc(serving.Context, func() {
		_ = c.Conn.SetWriteDeadline(time.Unix(1, 0))
		close(struck)
	})
	n, err := c.Conn.Write(b)
	if !stop() {
		<-struck // and not in a later call
	}
	return n, err
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
	if limit == 0 {
		return time.Now().Add(pollEvery), nil
	}
	left := time.Duration(limit - mono.Now())
	if left <= 0 {
		return time.Time{}, timeout
	}
	return time.Now().Add(min(left, pollEvery)), nil
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

// watched returns what ends with its call, or nil if c does not.
func watched(c net.Conn) *conn {
	switch c := c.(type) {
	case *conn:
		return c
	case plainConn:
		return c.conn
	}
	return nil
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
