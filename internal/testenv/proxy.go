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
	listen net.Listener
	target string
	wg     sync.WaitGroup

	mu       sync.Mutex
	change   *sync.Cond
	held     [2]bool
	closed   bool
	links    map[*link]struct{}
	recorded [2][]byte
}

// The two directions of a link.
const (
	toServer = iota
	toClient
)

type link struct {
	client, server *net.TCPConn
}

// Proxy starts a proxy in front of target, a host:port, and stops it when the
// test ends.
func Proxy(t testing.TB, target string) *FaultProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &FaultProxy{t: t, listen: l, target: target, links: map[*link]struct{}{}}
	p.change = sync.NewCond(&p.mu)
	p.wg.Add(1)
	go p.accept()
	t.Cleanup(p.close)
	return p
}

// Addr returns host:port of the proxy.
func (p *FaultProxy) Addr() string { return p.listen.Addr().String() }

// Stall lets no byte pass in either direction.
func (p *FaultProxy) Stall() { p.hold(true, true) }

// StallReplies lets requests reach the server but holds back its answers.
func (p *FaultProxy) StallReplies() { p.hold(false, true) }

// Resume lets bytes pass again, those that were held back first.
func (p *FaultProxy) Resume() { p.hold(false, false) }

func (p *FaultProxy) hold(requests, replies bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = [2]bool{toServer: requests, toClient: replies}
	p.change.Broadcast()
}

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

// Kill resets every connection and refuses new ones from now on.
func (p *FaultProxy) Kill() {
	_ = p.listen.Close()
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
	_ = p.listen.Close()
	p.mu.Lock()
	p.closed = true
	p.change.Broadcast()
	p.mu.Unlock()
	p.Cut()
	p.wg.Wait()
}

func (p *FaultProxy) accept() {
	defer p.wg.Done()
	for {
		conn, err := p.listen.Accept()
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
	p.links[l] = struct{}{}
	stop := p.closed
	p.mu.Unlock()
	if stop {
		abort(client)
	}
	var both sync.WaitGroup
	both.Go(func() { p.pump(toServer, l.client, l.server) })
	both.Go(func() { p.pump(toClient, l.server, l.client) })
	both.Wait()
	_ = client.Close()
	_ = conn.Close()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// pump moves bytes from src to dst until either ends, and passes on how src
// ended unless a stall swallowed it.
func (p *FaultProxy) pump(direction int, src, dst *net.TCPConn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		atOnce := p.pass(direction, buf[:n])
		if !atOnce && wasReset(src) {
			return
		}
		if n > 0 {
			if _, werr := dst.Write(buf[:n]); werr != nil {
				abort(src)
				return
			}
		}
		if errors.Is(err, io.EOF) {
			_ = dst.CloseWrite()
			return
		}
		if err != nil {
			abort(dst)
			return
		}
	}
}

// pass records bytes and waits while their direction is held. It reports
// whether they could pass at once.
func (p *FaultProxy) pass(direction int, b []byte) (atOnce bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.recorded[direction] = append(p.recorded[direction], b...)
	atOnce = true
	for p.held[direction] && !p.closed {
		atOnce = false
		p.change.Wait()
	}
	return atOnce
}

func abort(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}
