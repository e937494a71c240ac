package guard_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/guard"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = log.New(io.Discard, "", 0)

// server is a TLS server with HTTP/2 on loopback.
type server struct {
	*httptest.Server
	addr  string
	roots *x509.CertPool
	conns atomic.Int64
}

func newServer(t testing.TB, h http.HandlerFunc) *server {
	t.Helper()
	s := &server{Server: httptest.NewUnstartedServer(h)}
	s.EnableHTTP2 = true
	s.Config.ErrorLog = quiet
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.conns.Add(1)
		}
	}
	s.StartTLS()
	t.Cleanup(s.Server.Close)
	s.addr = s.Listener.Addr().String()
	s.roots = s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	return s
}

func (s *server) transport(t *testing.T, config guard.Config) *guard.Transport {
	return s.transportAt(t, s.addr, config)
}

func (s *server) transportAt(t *testing.T, addr string, config guard.Config) *guard.Transport {
	config.Rules.Private = true
	config.RootCAs = s.roots
	return transport(t, "https://"+addr, config)
}

func get(ctx context.Context, tr *guard.Transport, target string) (*guard.Response, error) {
	return tr.Do(ctx, guard.Request{Method: "GET", Target: target, Limit: 8 << 20})
}

// Rule: all calls share one connection, also the first ones, and each gets its
// own answer.
func TestOneConnection(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %d", r.Proto, r.Method, r.RequestURI, len(b))
	})
	tr := s.transport(t, guard.Config{})
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			target := fmt.Sprintf("/a%%2Fb%d?x=%%20", i)
			resp, err := tr.Do(t.Context(), guard.Request{Method: "PUT", Target: target, Body: make([]byte, i*1000), Limit: 1000})
			if want := fmt.Sprintf("HTTP/2.0 PUT %s %d", target, i*1000); err != nil || string(resp.Body) != want || resp.Status != 200 {
				t.Errorf("%v, %v, want %s", resp, err, want)
			}
		})
	}
	wg.Wait()
	if n := s.conns.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// Rule: a server without HTTP/2 is spoken to in HTTP/1.1, on connections that
// are reused, after answers of every kind.
func TestHTTP1(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/error" {
			w.WriteHeader(500)
			_, _ = w.Write(make([]byte, 50<<10))
			return
		}
		_, _ = io.WriteString(w, r.Proto+" "+r.RequestURI)
	}
	for _, scheme := range []string{"http", "https"} {
		s := &server{Server: httptest.NewUnstartedServer(http.HandlerFunc(handler))}
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				s.conns.Add(1)
			}
		}
		config := guard.Config{Rules: guard.Rules{Plain: true, Private: true}}
		if scheme == "https" {
			s.StartTLS()
			config.RootCAs = s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
		} else {
			s.Start()
		}
		tr := transport(t, s.URL, config)
		for _, target := range []string{"/a%2Fb", "/error", "/missing%20", "/error", "/a"} {
			resp, err := get(t.Context(), tr, target)
			if err != nil || target != "/error" && string(resp.Body) != "HTTP/1.1 "+target || target == "/error" && (resp.Status != 500 || len(resp.Body) != 4096) {
				t.Errorf("%s %s: %v, %v", scheme, target, resp, err)
			}
		}
		if n := s.conns.Load(); n != 1 {
			t.Errorf("%s: %d connections, want 1", scheme, n)
		}
		tr.Close()
		s.Server.Close()
	}
}

// Rule: a redirect is an answer; nothing goes to the other host.
func TestRedirect(t *testing.T) {
	addr, accepted := counter(t)
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+addr+"/", http.StatusTemporaryRedirect)
	})
	tr := s.transport(t, guard.Config{})
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE"} {
		resp, err := tr.Do(t.Context(), guard.Request{Method: method, Target: "/", Header: http.Header{"Authorization": {"Bearer canary"}}, Body: []byte("v"), Limit: 10})
		if err != nil || resp.Status != http.StatusTemporaryRedirect {
			t.Errorf("%s: %v, %v", method, resp, err)
		}
	}
	if n := accepted.Load(); n != 0 {
		t.Errorf("%d connections arrived at the other host", n)
	}
}

// Rule: an answer over the limit is refused, by its length before anything is
// allocated for it; other calls go on.
func TestLimit(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/declared":
			w.Header().Set("Content-Length", "1000000000000")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case "/endless":
			for i := 0; i < 10_000; i++ {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		default:
			_, _ = w.Write(make([]byte, 1000))
		}
	})
	tr := s.transport(t, guard.Config{})
	for target, limit := range map[string]int{"/declared": 1 << 20, "/endless": 1 << 20, "/": 999} {
		_, err := tr.Do(t.Context(), guard.Request{Method: "GET", Target: target, Limit: limit})
		var e *backends.Error
		if !errors.Is(err, guard.ErrTooLarge) || !errors.As(guard.Failure(t.Context(), "http", "get", err), &e) || e.Kind != backends.TooLarge {
			t.Errorf("%s = %v, want ErrTooLarge", target, err)
		}
	}
	if resp, err := tr.Do(t.Context(), guard.Request{Method: "PUT", Target: "/"}); err != nil || resp.Status != 200 {
		t.Errorf("a call without interest in the body: %v, %v", resp, err)
	}
	if resp, err := tr.Do(t.Context(), guard.Request{Method: "GET", Target: "/", Limit: 1000}); err != nil || len(resp.Body) != 1000 {
		t.Errorf("at the limit: %v, %v", resp, err)
	}
	if n := s.conns.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// Rule: a server that goes away in good order (GOAWAY) fails no call.
func TestGoAway(t *testing.T) {
	var n atomic.Int64
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1)%20 == 0 {
			w.Header().Set("Connection", "close")
		}
	})
	tr := s.transport(t, guard.Config{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				if _, err := tr.Do(t.Context(), guard.Request{Method: "PUT", Target: "/", Body: []byte("v")}); err != nil {
					t.Errorf("across a GOAWAY: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if s.conns.Load() < 2 {
		t.Error("the server sent no GOAWAY")
	}
}

// Rule: a call that takes longer than the transport's own limit is a Timeout,
// and the context of the caller is not blamed.
func TestOwnTimeout(t *testing.T) {
	s := newServer(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	tr := s.transport(t, guard.Config{Timeout: 50 * time.Millisecond, ConnectTimeout: 10 * time.Second})
	_, err := get(t.Context(), tr, "/")
	var e *backends.Error
	if !errors.As(guard.Failure(t.Context(), "http", "get", err), &e) || e.Kind != backends.Timeout || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want kind timeout", err)
	}
}

func TestClose(t *testing.T) {
	s := newServer(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	tr := s.transport(t, guard.Config{})
	done := make(chan error)
	go func() { _, err := get(context.Background(), tr, "/"); done <- err }()
	testenv.Poll(t, 5*time.Second, "the call to arrive", func() bool { return s.conns.Load() == 1 })
	tr.Close()
	tr.Close()
	if err := <-done; !errors.Is(err, backends.ErrClosed) {
		t.Errorf("a call across Close = %v", err)
	}
	if _, err := get(t.Context(), tr, "/"); !errors.Is(err, backends.ErrClosed) {
		t.Errorf("a call after Close = %v", err)
	}
}

// Rule: an answer that comes before the body was read ends the call, and nothing
// reads the body after that.
func TestEarlyAnswer(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusRequestEntityTooLarge) })
	tr := s.transport(t, guard.Config{})
	for range 10 {
		body := make([]byte, 8<<20)
		resp, err := tr.Do(t.Context(), guard.Request{Method: "PUT", Target: "/", Body: body})
		clear(body) // the race detector watches
		if err != nil || resp.Status != http.StatusRequestEntityTooLarge {
			t.Errorf("%v, %v", resp, err)
		}
	}
	if n := s.conns.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}
