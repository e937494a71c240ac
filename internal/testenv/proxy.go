package testenv

import (
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
)

// FaultProxy is a TCP proxy on 127.0.0.1 that can behave like a broken network.
// Its methods are safe for concurrent use.
//
// What a stall models is a network that drops every packet: connections are
// accepted, as a client's kernel would believe, and no byte passes in either
// direction. After Resume, the bytes that a client sent meanwhile are delivered,
// as its kernel would retransmit them, also after an orderly close (FIN). Bytes
// of a connection that the client aborted (RST, SO_LINGER 0) are not: the
// client's kernel forgot them, and the RST itself was lost, so the server keeps
// a half-open connection. At most some megabytes are taken from a client that
// writes into a stall; then its writes block, as against a full window.
type FaultProxy struct {
	t      testing.TB
	addr   string
	target string
	wg     sync.WaitGroup

	mu       sync.Mutex
	listen   net.Listener
	change   *sync.Cond
	fault    fault
	closed   bool
	links    map[*link]struct{}
	forget   bool
	recorded [2][]byte
}

// The two directions of a link.
const (
	toServer = iota
	toClient
)

type link struct {
	client, server *net.TCPConn
	// grace is what may still pass in each direction that is held.
	grace [2]int
	// lost: the server is gone and the client was not told.
	lost bool
}

// Proxy starts a proxy in front of target, a host:port, and stops it when the
// test ends.
func Proxy(t testing.TB, target string) *FaultProxy {
	t.Helper()
	l := listen(t)
	p := &FaultProxy{t: t, listen: l, addr: l.Addr().String(), target: target, links: map[*link]struct{}{}}
	p.change = sync.NewCond(&p.mu)
	p.wg.Add(1)
	go p.accept(l)
	t.Cleanup(p.close)
	return p
}

// Addr returns host:port of the proxy.
func (p *FaultProxy) Addr() string { return p.addr }

// Cut resets every open connection, towards both ends. New connections are
// accepted.
func (p *FaultProxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		abort(l.client)
		abort(l.server)
	}
}

// Kill resets every connection and refuses new ones until Revive.
func (p *FaultProxy) Kill() {
	p.mu.Lock()
	_ = p.listen.Close()
	p.mu.Unlock()
	p.Cut()
}

// Conns returns the number of open connections.
func (p *FaultProxy) Conns() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// Sent returns every byte that clients have sent so far, delivered or not.
func (p *FaultProxy) Sent() []byte { return p.record(toServer) }

// Received returns every byte that the server has sent so far.
func (p *FaultProxy) Received() []byte { return p.record(toClient) }

func (p *FaultProxy) record(direction int) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.recorded[direction])
}

func (p *FaultProxy) close() {
	p.mu.Lock()
	_ = p.listen.Close()
	p.closed = true
	p.change.Broadcast()
	p.mu.Unlock()
	p.Cut()
	p.wg.Wait()
}

func (p *FaultProxy) accept(listen net.Listener) {
	defer p.wg.Done()
	for {
		conn, err := listen.Accept()
		if err != nil {
			return
		}
		p.wg.Add(1)
		go p.serve(conn.(*net.TCPConn))
	}
}

func (p *FaultProxy) serve(client *net.TCPConn) {
	defer p.wg.Done()
	conn, err := net.Dial("tcp", p.target)
	if err != nil {
		abort(client)
		return
	}
	l := &link{client: client, server: conn.(*net.TCPConn)}
	p.mu.Lock()
	l.grace = p.fault.grace
	p.links[l] = struct{}{}
	stop := p.closed
	p.mu.Unlock()
	if stop {
		abort(client)
	}
	var both sync.WaitGroup
	both.Go(func() { p.pump(l, toServer, l.client, l.server) })
	both.Go(func() { p.pump(l, toClient, l.server, l.client) })
	both.Wait()
	_ = client.Close()
	_ = conn.Close()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// pump moves bytes from src to dst until either ends, and passes on how src
// ended unless a fault swallowed it.
func (p *FaultProxy) pump(l *link, direction int, src, dst *net.TCPConn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		p.note(direction, buf[:n])
		if !p.forward(l, direction, buf[:n], src, dst) {
			return
		}
		switch {
		case err == nil:
		case p.isLost(l):
			return
		case errors.Is(err, io.EOF):
			_ = dst.CloseWrite()
			return
		default:
			abort(dst)
			return
		}
	}
}

// forward writes b to dst as the fault allows, and waits for that at an end
// (no bytes) too. It reports whether the connection goes on.
func (p *FaultProxy) forward(l *link, direction int, b []byte, src, dst *net.TCPConn) bool {
	for {
		n, atOnce := p.pass(l, direction, len(b))
		if !atOnce && wasReset(src) {
			return false
		}
		if n > 0 {
			if _, err := dst.Write(b[:n]); err != nil && !p.isLost(l) {
				abort(src)
				return false
			}
		}
		if b = b[n:]; len(b) == 0 {
			return true
		}
	}
}

func (p *FaultProxy) note(direction int, b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.forget {
		p.recorded[direction] = append(p.recorded[direction], b...)
	}
}

func abort(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}
