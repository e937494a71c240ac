package guard_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/guard"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// quick calls f with a context that ends after 30 ms and fails unless one of
// three tries returns its error within 100 ms.
func quick(t *testing.T, cancelled bool, f func(context.Context) error) {
	t.Helper()
	var took time.Duration
	var err error
	for range 3 {
		want := context.DeadlineExceeded
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
		if cancelled {
			cancel()
			want = context.Canceled
			ctx, cancel = context.WithCancel(context.Background())
			time.AfterFunc(30*time.Millisecond, cancel)
		}
		start := time.Now()
		err = f(ctx)
		took = time.Since(start) - 30*time.Millisecond
		cancel()
		if errors.Is(err, want) && took < 100*time.Millisecond {
			return
		}
	}
	t.Errorf("%v, %v after the end of the context", err, took)
}

// Rule: a deadline or a cancel ends a call to a server that stalls, drips or is
// blocked by another caller's upload.
func TestContextEndsCalls(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/drip":
			for r.Context().Err() == nil {
				_, _ = w.Write([]byte("x"))
				w.(http.Flusher).Flush()
				time.Sleep(time.Millisecond)
			}
		case "/silent":
			<-r.Context().Done()
		case "/large":
			_, _ = w.Write(make([]byte, 4<<20))
		}
	})
	p := testenv.Proxy(t, s.addr)
	for _, cancelled := range []bool{false, true} {
		tr := s.transportAt(t, p.Addr(), guard.Config{})
		for _, target := range []string{"/drip", "/silent"} {
			quick(t, cancelled, func(ctx context.Context) error { _, err := get(ctx, tr, target); return err })
		}
		if _, err := get(t.Context(), tr, "/"); err != nil {
			t.Fatal(err)
		}
		p.Stall()
		var wg sync.WaitGroup
		wg.Go(func() {
			_, _ = tr.Do(t.Context(), guard.Request{Method: "PUT", Target: "/", Body: make([]byte, 32<<20)})
		})
		for range 5 {
			quick(t, cancelled, func(ctx context.Context) error { _, err := get(ctx, tr, "/large"); return err })
			quick(t, cancelled, func(ctx context.Context) error {
				_, err := tr.Do(ctx, guard.Request{Method: "PUT", Target: "/", Body: make([]byte, 1<<20)})
				return err
			})
		}
		tr.Close()
		wg.Wait()
		p.Resume()
	}
}

// Rule: a dead connection is noticed by its pings, and calls succeed again
// within 2 s.
func TestBlackHole(t *testing.T) {
	s := newServer(t, func(http.ResponseWriter, *http.Request) {})
	hole, through := testenv.Proxy(t, s.addr), atomic.Bool{}
	config := guard.Config{Rules: guard.Rules{Private: true}, RootCAs: s.roots, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if !through.Load() {
			addr = hole.Addr()
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}
	tr := transport(t, "https://"+s.addr, config)
	if _, err := get(t.Context(), tr, "/"); err != nil {
		t.Fatal(err)
	}
	hole.Stall()
	through.Store(true)
	start := time.Now()
	// The read is sent once more when the connection is given up: no call fails.
	if _, err := get(t.Context(), tr, "/"); err != nil {
		t.Errorf("a read across the loss of its connection: %v", err)
	}
	if took := time.Since(start); took > 4*time.Second { // 1.5 s by design; the machine may be busy
		t.Errorf("the connection was given up after %v", took)
	}
	t.Logf("recovered after %v", time.Since(start))
}

// memory is a server that stores bodies in the order of their arrival.
type memory struct {
	mu     sync.Mutex
	values map[string]string
}

func (m *memory) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch r.Method {
	case "PUT":
		m.values[r.URL.Path] = string(b)
	case "DELETE":
		delete(m.values, r.URL.Path)
	}
	if r.Method == "GET" {
		_, _ = io.WriteString(w, m.values[r.URL.Path])
	}
}

// Rule: a write that was abandoned in a black hole never lands over a newer one,
// in HTTP/2 and HTTP/1.1, with and without TLS.
func TestAbandonedWriteNeverLands(t *testing.T) {
	for _, kind := range []string{"http/2", "http/1.1", "plain"} {
		for _, method := range []string{"PUT", "DELETE"} {
			for _, size := range []int{1, 20_000, 8 << 20} {
				t.Run(fmt.Sprintf("%s %s %d", kind, method, size), func(t *testing.T) {
					m := &memory{values: map[string]string{}}
					s := &server{Server: httptest.NewUnstartedServer(m)}
					s.EnableHTTP2 = kind == "http/2"
					s.Config.ErrorLog = quiet
					config := guard.Config{Rules: guard.Rules{Plain: true, Private: true}}
					scheme := "http"
					if kind != "plain" {
						scheme = "https"
						s.StartTLS()
						config.RootCAs = s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
					} else {
						s.Start()
					}
					t.Cleanup(s.Server.Close)
					s.addr = s.Listener.Addr().String()
					p := testenv.Proxy(t, s.addr)
					tr, other := transport(t, scheme+"://"+p.Addr(), config), transport(t, scheme+"://"+s.addr, config)
					if _, err := get(t.Context(), tr, "/k"); err != nil {
						t.Fatal(err)
					}
					p.Stall()
					body := bytes.Repeat([]byte("old"), size)
					ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
					_, err := tr.Do(ctx, guard.Request{Method: method, Target: "/k", Body: body})
					cancel()
					clear(body)
					if !errors.Is(err, context.DeadlineExceeded) {
						t.Fatalf("against a black hole: %v", err)
					}
					if _, err := other.Do(t.Context(), guard.Request{Method: "PUT", Target: "/k", Body: []byte("newer")}); err != nil {
						t.Fatal(err)
					}
					p.Resume()
					for range 20 {
						if resp, err := get(t.Context(), other, "/k"); err != nil || string(resp.Body) != "newer" {
							t.Fatalf("the abandoned write landed: %v, %v", resp, err)
						}
						time.Sleep(10 * time.Millisecond)
					}
				})
			}
		}
	}
}

// Rule: a write that is given up because the server is slow, not away, costs
// the other calls of the connection nothing.
func TestSlowWriteKeepsTheConnection(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "PUT" {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}
	})
	tr := s.transport(t, guard.Config{})
	var lost int64
	for range 3 { // a busy machine can be late with the answer to a ping
		before := s.conns.Load()
		for range 5 {
			quick(t, false, func(ctx context.Context) error {
				_, err := tr.Do(ctx, guard.Request{Method: "PUT", Target: "/", Body: make([]byte, 10_000)})
				return err
			})
		}
		if _, err := get(t.Context(), tr, "/"); err != nil {
			t.Fatal(err)
		}
		if lost = s.conns.Load() - max(before, 1); lost == 0 {
			return
		}
	}
	t.Errorf("%d connections were made anew", lost)
}

// Rule: reads on a connection that an abandoned write resets are sent again.
func TestReadsSurviveTheReset(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "v") })
	p := testenv.Proxy(t, s.addr)
	tr := s.transportAt(t, p.Addr(), guard.Config{})
	if _, err := get(t.Context(), tr, "/"); err != nil {
		t.Fatal(err)
	}
	p.Stall()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if resp, err := get(t.Context(), tr, "/"); err != nil || string(resp.Body) != "v" {
				t.Errorf("a read beside an abandoned write: %v, %v", resp, err)
			}
		})
	}
	quick(t, true, func(ctx context.Context) error {
		_, err := tr.Do(ctx, guard.Request{Method: "PUT", Target: "/", Body: []byte("v")})
		return err
	})
	p.Resume()
	wg.Wait()
}

// tardy is a connection whose reader learns late that it has ended.
type tardy struct {
	net.Conn
	late <-chan struct{}
}

func (c tardy) NetConn() net.Conn { return c.Conn }

func (c tardy) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		<-c.late
	}
	return n, err
}

// Rule: the next write goes over a new connection as soon as an abandoned one has
// reset its own, also before the HTTP/2 client has noticed that.
func TestWriteRightAfterTheReset(t *testing.T) {
	s := newServer(t, (&memory{values: map[string]string{}}).ServeHTTP)
	p, late := testenv.Proxy(t, s.addr), make(chan struct{})
	defer close(late)
	tr := s.transportAt(t, p.Addr(), guard.Config{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return tardy{c, late}, err
	}})
	put := func(ctx context.Context, v string) error {
		_, err := tr.Do(ctx, guard.Request{Method: "PUT", Target: "/k", Body: []byte(v)})
		return err
	}
	if err := put(t.Context(), "before"); err != nil {
		t.Fatal(err)
	}
	p.Stall()
	quick(t, false, func(ctx context.Context) error { return put(ctx, "old") })
	p.Resume()
	if err := put(t.Context(), "newer"); err != nil {
		t.Fatalf("a write after an abandoned one: %v", err)
	}
	if resp, err := get(t.Context(), tr, "/k"); err != nil || string(resp.Body) != "newer" {
		t.Errorf("stored = %v, %v", resp, err)
	}
}
