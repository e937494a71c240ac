package guard

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
)

// Request is one call.
type Request struct {
	Method string
	// Target is the escaped path, with the query if there is one. It begins
	// with one slash.
	Target string
	// Header must not be changed any more, not even after the call. It may be
	// nil.
	Header http.Header
	// Body is read until Do returns.
	Body []byte
	// Limit is the largest body in bytes of an answer in the 200s; 0 is for a call
	// whose body is of no interest and may be cut.
	Limit int
}

// Response is an answer.
type Response struct {
	Status int
	// Proto is the protocol that was spoken: "HTTP/2.0", "HTTP/1.1".
	Proto  string
	Header http.Header
	// Body is owned by the caller. Of an answer outside the 200s, or without
	// Request.Limit, it is the beginning, at most 4 KiB.
	Body []byte
}

// Do makes one call. Redirects are answers like others. A read (GET or HEAD)
// whose connection, used before, is lost meanwhile is sent once more; nothing
// else is ever sent twice, except what the server declared unprocessed (GOAWAY,
// REFUSED_STREAM) or what was never sent.
//
// An error is the error of ctx, backends.ErrClosed, or one that [Failure] can
// turn into a *backends.Error; it tells nothing of the request and repeats
// nothing that the server said.
func (t *Transport) Do(ctx context.Context, r Request) (*Response, error) {
	if t.isClosed() {
		return nil, errClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !strings.HasPrefix(r.Target, "/") || strings.HasPrefix(r.Target, "//") {
		return nil, errTarget
	}
	limited, cancel := context.WithTimeout(ctx, t.config.Timeout)
	defer cancel()
	resp, again, err := t.once(limited, r)
	if again && limited.Err() == nil {
		resp, _, err = t.once(limited, r)
	}
	if err != nil {
		return nil, t.explain(ctx, limited, err)
	}
	return resp, nil
}

// copiedBytes is the largest body that is copied for HTTP/1.1: net/http sends the
// body together with the headers, in one system call, if it knows its type.
const copiedBytes = 16 << 10

// call is one attempt at a request: one piece of memory, because allocations are
// what a call costs beside its bytes.
type call struct {
	req    http.Request
	url    url.URL
	trace  httptrace.ClientTrace
	value  value
	reader reader
	copied bytes.Reader
	writes bool

	mu      sync.Mutex
	conn    *conn
	reused  bool
	written bool          // nothing of the body will be written any more
	wrote   chan struct{} // closed when written, once somebody waits for it
}

// once makes one attempt. again is true if a second one is in order.
func (t *Transport) once(ctx context.Context, r Request) (resp *Response, again bool, err error) {
	c := &call{
		value:  value{b: r.Body},
		writes: r.Method != http.MethodGet && r.Method != http.MethodHead,
	}
	defer c.value.release()
	c.request(t, r)
	answer, err := t.roundTrip(ctx, c)
	if errors.Is(err, errHTTP1) { // which the next attempt knows
		c.answered()
		return t.once(ctx, r)
	}
	if err != nil {
		return nil, c.failed(err), err
	}
	c.answered()
	body, err := readBody(ctx, answer, r.Limit)
	if err != nil {
		return nil, !c.writes && c.failed(err), err
	}
	return &Response{Status: answer.StatusCode, Proto: answer.Proto, Header: answer.Header, Body: body}, false, nil
}

func (t *Transport) roundTrip(ctx context.Context, c *call) (*http.Response, error) {
	if t.pool != nil && !t.pool.http1.Load() {
		return t.pool.roundTrip(c, c.http2(ctx))
	}
	return t.http1.RoundTrip(c.http1(ctx))
}

// request fills in c.req, but for its context.
func (c *call) request(t *Transport, r Request) {
	c.url = url.URL{Scheme: t.origin.Scheme, Host: t.origin.Host, Opaque: r.Target}
	c.req = http.Request{Method: r.Method, URL: &c.url, Host: t.origin.Host, Header: r.Header}
	if c.req.Header == nil {
		c.req.Header = http.Header{}
	}
	if r.Method == http.MethodPut || r.Method == http.MethodPost || r.Method == http.MethodPatch || len(r.Body) > 0 {
		c.req.ContentLength = int64(len(r.Body))
		c.reader.v = &c.value
		c.req.Body = &c.reader
		if len(r.Body) == 0 {
			c.req.Body = http.NoBody
		}
	}
}

// http2 returns the request for HTTP/2.
func (c *call) http2(ctx context.Context) *http.Request {
	if c.writes {
		c.trace.WroteRequest = c.wroteRequest
		ctx = httptrace.WithClientTrace(ctx, &c.trace)
	}
	c.req = *c.req.WithContext(ctx)
	return &c.req
}

// http1 returns the request for HTTP/1.1.
func (c *call) http1(ctx context.Context) *http.Request {
	if n := len(c.value.b); n > 0 {
		c.req.GetBody = func() (io.ReadCloser, error) { return &reader{v: &c.value}, nil }
		if n <= copiedBytes {
			c.copied.Reset(bytes.Clone(c.value.b))
			c.req.Body = io.NopCloser(&c.copied)
		}
	}
	c.trace.GotConn = c.gotConn
	c.req = *c.req.WithContext(httptrace.WithClientTrace(ctx, &c.trace))
	return &c.req
}

// rewind makes the request one to send again. Nobody reads its body any more.
func (c *call) rewind() {
	if c.reader.v != nil && c.req.Body != http.NoBody {
		c.req.Body = &reader{v: &c.value}
	}
}

// gotConn is told by net/http which connection serves the call.
func (c *call) gotConn(info httptrace.GotConnInfo) {
	if raw := rawOf(info.Conn); raw != nil {
		c.got(raw, info.Reused)
	}
}

// got takes note of the connection that serves the call. If there was another one
// before, that one has not processed the request.
func (c *call) got(raw *conn, reused bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writes {
		if c.conn != nil {
			c.conn.writes.Add(-1)
		}
		raw.writes.Add(1)
	}
	c.conn, c.reused, c.written = raw, reused, false
}

// wroteRequest is told by x/net that it writes nothing of the request any more.
func (c *call) wroteRequest(httptrace.WroteRequestInfo) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written = true
	if c.wrote != nil {
		close(c.wrote)
		c.wrote = nil
	}
}

// quiet returns a channel that is closed when nothing of the request will be
// written any more.
func (c *call) quiet() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	quiet := make(chan struct{})
	if c.written {
		close(quiet)
	} else {
		c.wrote = quiet
	}
	return quiet
}

func (c *call) served() (*conn, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn, c.reused
}

func (c *call) answered() {
	if conn, _ := c.served(); conn != nil && c.writes {
		conn.writes.Add(-1)
	}
}

// failed cleans up after an attempt without an answer, and reports whether
// another one is in order.
func (c *call) failed(err error) (again bool) {
	conn, reused := c.served()
	if conn == nil {
		return false
	}
	if !c.writes {
		return reused && conn.lost(err)
	}
	if read := c.value.release(); !read {
		c.wroteRequest(httptrace.WroteRequestInfo{}) // no body has been or will be written
	}
	conn.settle(c.quiet())
	return false
}

// lost reports whether the connection is gone, and not the answer bad.
func (c *conn) lost(err error) bool {
	if c.h2 != nil {
		return c.closed.Load() || !c.h2.CanTakeNewRequest()
	}
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}

// value is the body of a request, which is not read any more once released.
type value struct {
	mu   sync.Mutex
	b    []byte
	read bool
	over bool
}

// release returns when nobody reads the body any more, and whether anybody has.
func (v *value) release() (read bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.b, v.over = nil, true
	return v.read
}

// reader reads a value from its beginning.
type reader struct {
	v   *value
	off int
}

var errOver = errors.New("guard: the call is over")

func (r *reader) Read(b []byte) (int, error) {
	r.v.mu.Lock()
	defer r.v.mu.Unlock()
	if r.v.over {
		return 0, errOver
	}
	r.v.read = true
	if r.off == len(r.v.b) {
		return 0, io.EOF
	}
	n := copy(b, r.v.b[r.off:])
	r.off += n
	if r.off == len(r.v.b) { // said at once, HTTP/2 marks the frame as the last
		return n, io.EOF
	}
	return n, nil
}

func (r *reader) Close() error { return nil }
