package faults_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// resolver is a name server on loopback that knows every name as 127.0.0.1, and
// can fall silent.
type resolver struct {
	conn   net.PacketConn
	silent atomic.Bool

	mu     sync.Mutex
	closed bool
	asking []net.Conn
}

func newResolver(t *testing.T) *resolver {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &resolver{conn: conn}
	done := make(chan struct{})
	go func() { defer close(done); r.serve() }()
	t.Cleanup(func() { _ = conn.Close(); <-done; r.close() })
	return r
}

func (r *resolver) mute(silent bool) { r.silent.Store(silent) }

// close ends the questions that are open: package net waits for an answer for
// seconds after everybody who asked has gone.
func (r *resolver) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, c := range r.asking {
		_ = c.Close()
	}
}

func (r *resolver) ask(ctx context.Context, _, _ string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "udp", r.conn.LocalAddr().String())
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if r.closed {
		_ = c.Close()
	}
	r.asking = append(r.asking, c)
	return c, nil
}

func (r *resolver) serve() {
	buf := make([]byte, 1500)
	for {
		n, from, err := r.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if answer, err := answerTo(buf[:n]); err == nil && !r.silent.Load() {
			_, _ = r.conn.WriteTo(answer, from)
		}
	}
}

func answerTo(query []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return nil, err
	}
	m.Response, m.Authoritative, m.Additionals = true, true, nil
	for _, q := range m.Questions {
		if q.Type == dnsmessage.TypeA {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 0},
				Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
			})
		}
	}
	return m.Pack()
}

// dialer dials the port of addr at a name that r has to tell each time. Timeouts
// are those of the caller's context.
func (r *resolver) dialer(addr string) dialer {
	d := &net.Dialer{Resolver: &net.Resolver{PreferGo: true, Dial: r.ask}}
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		return d.DialContext(ctx, network, net.JoinHostPort("storage.test", port))
	}
}
