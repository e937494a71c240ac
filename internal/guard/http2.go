package guard

//lint:file-ignore SA1019 golang.org/x/net/http2 is deprecated in favour of net/http, whose client has no Ping (DESIGN.md, D6).

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
)

type clientConn = http2.ClientConn

// errHTTP1 tells that the server chose HTTP/1.1.
var errHTTP1 = errors.New("guard: the server speaks HTTP/1.1")

// pool holds the one HTTP/2 connection of a Transport and makes a new one, once
// for all callers, when that takes no more requests.
type pool struct {
	t     *Transport
	h2    *http2.Transport
	http1 atomic.Bool
	// barren is how many connections have been made since the last answer.
	barren atomic.Int64

	mu      sync.Mutex
	current *conn
	dialing *attempt
}

// attempt is a connection in the making. It belongs to no caller, so that none
// can end it for the others.
type attempt struct {
	done chan struct{}
	err  error
}

func newPool(t *Transport) *pool {
	return &pool{t: t, h2: &http2.Transport{
		DisableCompression:         true,
		MaxHeaderListSize:          maxHeaderBytes,
		StrictMaxConcurrentStreams: true,
		IdleConnTimeout:            idleTimeout,
		ReadIdleTimeout:            t.config.PingAfter,
		PingTimeout:                t.config.PingTimeout,
	}}
}

// roundTrip sends c until the server has looked at it. It is not left to x/net,
// which waits for seconds between one GOAWAY and the next.
func (p *pool) roundTrip(c *call, req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	for refused := 0; ; {
		conn, err := p.conn(ctx)
		if err != nil {
			return nil, err
		}
		c.got(conn, conn.used.Swap(true))
		resp, err := conn.h2.RoundTrip(req)
		if err == nil {
			if p.barren.Load() != 0 {
				p.barren.Store(0)
			}
			return resp, nil
		}
		if conn.closed.Load() {
			p.drop(conn)
		}
		if !unprocessed(err) || ctx.Err() != nil {
			return nil, err
		}
		if conn.h2.CanTakeNewRequest() {
			if err := pause(ctx, refused); err != nil {
				return nil, err
			}
			refused++
		}
		c.rewind()
	}
}

// unprocessed reports whether the server says that it has not looked at a request,
// or the request was never sent. x/net has no names for two of the errors.
func unprocessed(err error) bool {
	var stream http2.StreamError
	if errors.As(err, &stream) {
		return stream.Code == http2.ErrCodeRefusedStream
	}
	switch err.Error() {
	case "http2: Transport received Server's graceful shutdown GOAWAY", "http2: client conn not usable":
		return true
	}
	return false
}

// pause waits before try n, which is the first again if 0: not at all, 10 ms, twice
// that and so on, up to some 500 ms.
func pause(ctx context.Context, n int) error {
	if n == 0 {
		return ctx.Err()
	}
	d := min(10*time.Millisecond<<min(n-1, 10), 500*time.Millisecond)
	timer := time.NewTimer(d + rand.N(d/4))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// conn returns the connection. It reserves no stream: x/net (v0.62) counts
// reservations as streams, and has no call begin before there are fewer than the
// server takes, so that many calls at once would wait for each other for ever.
func (p *pool) conn(ctx context.Context) (*conn, error) {
	for {
		c, a, err := p.take()
		if c != nil || err != nil {
			return c, err
		}
		select {
		case <-a.done:
			if a.err != nil {
				return nil, a.err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (p *pool) take() (*conn, *attempt, error) {
	if p.http1.Load() {
		return nil, nil, errHTTP1
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	// x/net learns of a reset when it next reads: until then it would take a request.
	if p.current != nil && !p.current.closed.Load() && p.current.h2.CanTakeNewRequest() {
		return p.current, nil, nil
	}
	if p.dialing == nil {
		p.dialing = &attempt{done: make(chan struct{})}
		go p.dial(p.dialing)
	}
	return nil, p.dialing, nil
}

func (p *pool) dial(a *attempt) {
	c, err := p.connect()
	p.mu.Lock()
	defer p.mu.Unlock()
	if errors.Is(err, errHTTP1) {
		p.http1.Store(true)
	}
	if err == nil {
		p.current = c
	}
	p.dialing, a.err = nil, err
	close(a.done)
}

// connect makes a connection, after a pause if the last ones have brought no answer.
func (p *pool) connect() (*conn, error) {
	if err := pause(p.t.life, int(p.barren.Load())); err != nil {
		return nil, err
	}
	c, raw, err := p.t.dialTLS(p.t.life, http2.NextProtoTLS, "http/1.1")
	if err != nil {
		return nil, err
	}
	if c.ConnectionState().NegotiatedProtocol != http2.NextProtoTLS {
		p.t.spare <- c
		return nil, errHTTP1
	}
	cc, err := p.h2.NewClientConn(c)
	if err != nil {
		_ = raw.close()
		return nil, err
	}
	raw.h2 = cc
	p.barren.Add(1)
	return raw, nil
}

// drop forgets a connection that has ended.
func (p *pool) drop(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == c {
		p.current = nil
	}
}

// settleLimit is how long an abandoned write waits for the proof that the server
// has read it: a part of the 100 ms that package backends allows.
const settleLimit = 40 * time.Millisecond

// settle sees to it that an abandoned write is under way no more. quiet is closed
// when nothing of its body will be written any more.
func (c *conn) settle(quiet <-chan struct{}) {
	if c.h2 != nil {
		ctx, cancel := context.WithTimeout(context.Background(), settleLimit)
		defer cancel()
		select {
		case <-quiet:
			if c.h2.Ping(ctx) == nil {
				c.writes.Add(-1)
				return
			}
		case <-ctx.Done():
		}
	}
	c.reset()
}
