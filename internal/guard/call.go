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

// call is one attempt at a request.
type call struct {
	value  *value
	writes bool
	wrote  chan struct{}

	mu     sync.Mutex
	conn   *conn
	reused bool
	once   sync.Once
}

// once makes one attempt. again is true if a second one is in order.
func (t *Transport) once(ctx context.Context, r Request) (resp *Response, again bool, err error) {
	c := &call{
		value:  &value{b: r.Body},
		writes: r.Method != http.MethodGet && r.Method != http.MethodHead,
		wrote:  make(chan struct{}),
	}
	defer c.value.release()
	req := c.request(ctx, &t.origin, r)
	if n := len(r.Body); n > 0 && n <= copiedBytes && t.speaksHTTP1() {
		req.Body = io.NopCloser(bytes.NewReader(bytes.Clone(r.Body)))
	}
	answer, err := t.roundTrip(req)
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

func (t *Transport) speaksHTTP1() bool { return t.pool == nil || t.pool.isHTTP1() }

func (t *Transport) roundTrip(req *http.Request) (*http.Response, error) {
	if t.pool != nil {
		resp, err := t.pool.roundTrip(req)
		if !errors.Is(err, errHTTP1) {
			return resp, err
		}
	}
	return t.http1.RoundTrip(req)
}

func (c *call) request(ctx context.Context, origin *url.URL, r Request) *http.Request {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:      c.gotConn,
		WroteRequest: func(httptrace.WroteRequestInfo) { c.once.Do(func() { close(c.wrote) }) },
	})
	req := &http.Request{
		Method: r.Method,
		URL:    &url.URL{Scheme: origin.Scheme, Host: origin.Host, Opaque: r.Target},
		Host:   origin.Host,
		Header: r.Header,
	}
	if req.Header == nil {
		req.Header = http.Header{}
	}
	if r.Method == http.MethodPut || r.Method == http.MethodPost || r.Method == http.MethodPatch || len(r.Body) > 0 {
		req.ContentLength = int64(len(r.Body))
		req.GetBody = func() (io.ReadCloser, error) { return &reader{v: c.value}, nil }
		req.Body = &reader{v: c.value}
		if len(r.Body) == 0 {
			req.Body = http.NoBody
		}
	}
	return req.WithContext(ctx)
}

// gotConn is told which connection serves the call. If there was another one
// before, that one has not processed the request.
func (c *call) gotConn(info httptrace.GotConnInfo) {
	c.mu.Lock()
	defer c.mu.Unlock()
	raw := rawOf(info.Conn)
	if c.writes {
		if c.conn != nil {
			c.conn.writes.Add(-1)
		}
		if raw != nil {
			raw.writes.Add(1)
		}
	}
	c.conn, c.reused = raw, info.Reused
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
		c.once.Do(func() { close(c.wrote) }) // no body has been or will be written
	}
	conn.settle(c.wrote)
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
	return n, nil
}

func (r *reader) Close() error { return nil }
