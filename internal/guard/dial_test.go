package guard_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/guard"
)

// resolver answers every question with the given addresses.
func resolver(t *testing.T, addrs ...string) *net.Resolver {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
			q := m.Questions[0]
			for _, text := range addrs {
				a := netip.MustParseAddr(text)
				head := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}
				switch {
				case a.Is4() && q.Type == dnsmessage.TypeA:
					m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AResource{A: a.As4()}})
				case a.Is6() && q.Type == dnsmessage.TypeAAAA:
					m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
				}
			}
			if out, err := m.Pack(); err == nil {
				_, _ = pc.WriteTo(out, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", pc.LocalAddr().String())
	}}
}

func origin(t *testing.T, rules guard.Rules, raw string) *url.URL {
	t.Helper()
	u, err := rules.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func transport(t *testing.T, raw string, config guard.Config) *guard.Transport {
	t.Helper()
	tr := guard.New(origin(t, config.Rules, raw), config)
	t.Cleanup(tr.Close)
	return tr
}

// counter counts the connections that a listener accepts.
func counter(t *testing.T) (addr string, n *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	n = new(atomic.Int64)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n.Add(1)
			_ = c.Close()
		}
	}()
	return l.Addr().String(), n
}

// Rule: the address that DNS gives is judged before a packet is sent to it.
func TestDialRefusesWhatDNSSays(t *testing.T) {
	addr, accepted := counter(t)
	_, port, _ := net.SplitHostPort(addr)
	for _, answer := range []string{"127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "::1", "::ffff:127.0.0.1", "fd00::1", "fe80::1", "64:ff9b::7f00:1", "2002:7f00:1::"} {
		tr := transport(t, "https://rebind.test:"+port, guard.Config{Resolver: resolver(t, answer)})
		_, err := tr.Do(t.Context(), guard.Request{Method: "GET", Target: "/", Limit: 1})
		if !errors.Is(err, guard.ErrAddress) {
			t.Errorf("%s: %v, want ErrAddress", answer, err)
		}
		var e *backends.Error
		if !errors.As(guard.Failure(t.Context(), "http", "get", err), &e) || e.Kind != backends.Permanent {
			t.Errorf("%s: kind %v, want permanent", answer, e)
		}
	}
	if n := accepted.Load(); n != 0 {
		t.Errorf("%d connections arrived", n)
	}
}

// Rule: of several addresses, one that is allowed serves, also over IPv4 where
// the IPv6 address is refused.
func TestDialTriesOtherAddresses(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	defer s.Close()
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	tr := transport(t, "http://several.test:"+port, guard.Config{
		Rules:    guard.Rules{Plain: true, Private: true},
		Resolver: resolver(t, "fe80::1", "169.254.169.254", "127.0.0.1"),
	})
	resp, err := tr.Do(t.Context(), guard.Request{Method: "GET", Target: "/", Limit: 10})
	if err != nil || string(resp.Body) != "ok" {
		t.Fatalf("Do = %v, %v", resp, err)
	}
}

// Rule: a dialer that is passed in goes through the same check, unless what it
// returns is admitted.
func TestDialHook(t *testing.T) {
	s := newServer(t, func(http.ResponseWriter, *http.Request) {})
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.addr)
	}
	config := guard.Config{Dial: dial, RootCAs: s.roots}
	refused := transport(t, "https://example.com", config)
	if _, err := refused.Do(t.Context(), guard.Request{Method: "GET", Target: "/", Limit: 1}); !errors.Is(err, guard.ErrAddress) {
		t.Errorf("a dialer to loopback = %v, want ErrAddress", err)
	}
	config.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		a, b := net.Pipe()
		_ = b.Close()
		return a, nil
	}
	piped := transport(t, "https://example.com", config)
	if _, err := piped.Do(t.Context(), guard.Request{Method: "GET", Target: "/", Limit: 1}); !errors.Is(err, guard.ErrAddress) {
		t.Errorf("a dialer to something without an address = %v, want ErrAddress", err)
	}
	config.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return guard.Admit(c), nil
	}
	admitted := transport(t, "https://example.com", config)
	if _, err := admitted.Do(t.Context(), guard.Request{Method: "GET", Target: "/", Limit: 1}); err != nil {
		t.Errorf("an admitted connection = %v", err)
	}
}

// connectProxy is a CONNECT proxy that sends every tunnel to target.
func connectProxy(t *testing.T, target string, asked func(*http.Request) int) *url.URL {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if code := asked(r); code != http.StatusOK {
			w.WriteHeader(code)
			return
		}
		up, err := net.Dial("tcp", target)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer up.Close()
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(up, rw); _ = up.Close() }()
		_, _ = io.Copy(c, up)
	}))
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("me", "proxy-canary")
	return u
}

// Rule: a proxy serves if it is named, and only then.
func TestProxy(t *testing.T) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY"} {
		t.Setenv(name, "http://127.0.0.1:1")
	}
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) })
	var login atomic.Value
	code := http.StatusOK
	proxy := connectProxy(t, s.addr, func(r *http.Request) int {
		login.Store(r.Host + " " + r.Header.Get("Proxy-Authorization"))
		return code
	})
	config := guard.Config{RootCAs: s.roots, Proxy: proxy}
	resp, err := transport(t, "https://example.com", config).Do(t.Context(), guard.Request{Method: "GET", Target: "/", Limit: 10})
	if err != nil || string(resp.Body) != "HTTP/2.0" {
		t.Fatalf("through a proxy: %v, %v", resp, err)
	}
	if got := login.Load(); got != "example.com:443 Basic bWU6cHJveHktY2FuYXJ5" {
		t.Errorf("the proxy was asked %q", got)
	}
	code = http.StatusForbidden
	_, err = transport(t, "https://example.com", config).Do(t.Context(), guard.Request{Method: "GET", Target: "/", Limit: 10})
	if err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("a proxy that refuses = %v", err)
	}
	direct := s.transport(t, guard.Config{})
	if _, err := direct.Do(t.Context(), guard.Request{Method: "GET", Target: "/", Limit: 10}); err != nil {
		t.Errorf("with a proxy in the environment: %v", err)
	}
}

// Rule: a proxy or a server that accepts and says nothing is given up.
func TestConnectTimeout(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, config := range map[string]guard.Config{
		"server": {Rules: guard.Rules{Private: true}},
		"proxy":  {Rules: guard.Rules{Private: true}, Proxy: &url.URL{Scheme: "http", Host: l.Addr().String()}},
	} {
		config.ConnectTimeout = 50 * time.Millisecond
		_, err := transport(t, "https://"+l.Addr().String(), config).Do(t.Context(), guard.Request{Method: "GET", Target: "/"})
		var e *backends.Error
		if !errors.As(guard.Failure(t.Context(), "http", "get", err), &e) || e.Kind != backends.Timeout {
			t.Errorf("%s: %v, want kind timeout", name, err)
		}
	}
}

// Rule: a name or a host that does not answer in time is a failure of the
// backend, though package net says that it is a context's deadline: that of no
// caller has passed.
func TestDialTimeoutIsNoDeadlineOfTheCaller(t *testing.T) {
	mine, theirs := net.Pipe() // which nobody reads
	defer mine.Close()
	defer theirs.Close()
	mute := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return mine, nil }}
	for name, config := range map[string]guard.Config{
		"the resolver": {Resolver: mute},
		"a dialer that is passed in": {Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return (&net.Dialer{Resolver: mute}).DialContext(ctx, network, addr)
		}},
	} {
		config.ConnectTimeout = 50 * time.Millisecond
		_, err := transport(t, "https://silent.test", config).Do(t.Context(), guard.Request{Method: "GET", Target: "/"})
		failure := guard.Failure(t.Context(), "http", "get", err)
		var e *backends.Error
		if !errors.As(failure, &e) || e.Kind != backends.Timeout || errors.Is(failure, context.DeadlineExceeded) {
			t.Errorf("%s: %v, want kind timeout and no deadline", name, failure)
		}
	}
}
