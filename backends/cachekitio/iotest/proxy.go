package iotest

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
)

// proxy is an HTTP proxy that knows the method CONNECT and one destination.
type proxy struct {
	server  *Server
	want    string
	http    *http.Server
	running sync.WaitGroup

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]struct{}
}

// Proxy starts, with the first call, a CONNECT proxy on loopback that leads to the
// server's host and port 443 alone, and returns its URL for HTTPS_PROXY. It ends
// with the server.
func (s *Server) Proxy() (url string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return "", net.ErrClosed
	}
	if s.proxy == nil {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", fmt.Errorf("iotest: proxy: %w", err)
		}
		s.proxy = newProxy(s, l)
	}
	return "http://" + s.proxy.http.Addr, nil
}

func newProxy(s *Server, l net.Listener) *proxy {
	p := &proxy{server: s, want: net.JoinHostPort(s.opts.Host, "443"), conns: map[net.Conn]struct{}{}}
	p.http = &http.Server{Addr: l.Addr().String(), Handler: p, ErrorLog: log.New(io.Discard, "", 0)}
	p.running.Go(func() { _ = p.http.Serve(l) })
	return p
}

// ServeHTTP makes a tunnel, or refuses.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect || r.Host != p.want {
		http.Error(w, "this proxy leads to "+p.want+" alone", http.StatusForbidden)
		return
	}
	server, err := net.Dial("tcp", p.server.Addr())
	if err != nil {
		http.Error(w, "the server is gone", http.StatusBadGateway)
		return
	}
	defer server.Close()
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer client.Close()
	if !p.track(client, server) {
		return
	}
	defer p.forget(client, server)
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	up := make(chan struct{})
	go func() {
		defer close(up)
		_, _ = io.Copy(server, buffered)
		_ = server.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(client, server)
	_ = client.Close() // ends the other direction too
	<-up
}

// track notes a tunnel's connections; it reports false after close.
func (p *proxy) track(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.running.Add(1)
	for _, c := range conns {
		p.conns[c] = struct{}{}
	}
	return true
}

func (p *proxy) forget(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.conns, c)
	}
	p.running.Done()
}

// close ends every tunnel and waits for them.
func (p *proxy) close() {
	_ = p.http.Close()
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.running.Wait()
}
