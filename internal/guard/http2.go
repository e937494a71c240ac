package guard

//lint:file-ignore SA1019 golang.org/x/net/http2 is deprecated in favour of net/http, whose client has no Ping (DESIGN.md, D6).

import (
	"context"
	"errors"
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
// for all callers, when that takes no more requests. It is a
// http2.ClientConnPool.
type pool struct {
	t  *Transport
	h2 *http2.Transport

	http1 atomic.Bool

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
	p := &pool{t: t}
	p.h2 = &http2.Transport{
		ConnPool:                   p,
		DisableCompression:         true,
		MaxHeaderListSize:          maxHeaderBytes,
		StrictMaxConcurrentStreams: true,
		IdleConnTimeout:            idleTimeout,
		ReadIdleTimeout:            t.config.PingAfter,
		PingTimeout:                t.config.PingTimeout,
	}
	return p
}

// GetClientConn returns the connection. It reserves no stream: x/net (v0.62) counts
// reservations as streams, and has no call begin before there are fewer than the
// server takes, so that many calls at once would wait for each other for ever.
func (p *pool) GetClientConn(req *http.Request, _ string) (*clientConn, error) {
	call := req.Context().Value(callKey{}).(*call)
	for {
		c, a, err := p.take()
		if err != nil {
			return nil, err
		}
		if c != nil {
			call.got(c, c.used.Swap(true))
			return c.h2, nil
		}
		select {
		case <-a.done:
			if a.err != nil {
				return nil, a.err
			}
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	}
}

func (p *pool) take() (*conn, *attempt, error) {
	if p.http1.Load() {
		return nil, nil, errHTTP1
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current != nil && p.current.h2.CanTakeNewRequest() {
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

func (p *pool) connect() (*conn, error) {
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
	return raw, nil
}

// MarkDead drops a connection that has ended.
func (p *pool) MarkDead(cc *clientConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current != nil && p.current.h2 == cc {
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
