package dynamodbbackend_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/dynamodbbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// abandoned runs f with a context that ends after 30 ms by deadline or cancel, and
// fails unless one of three tries returns the context's error within 100 ms.
func abandoned(t *testing.T, cancelled bool, f func(context.Context) error) {
	t.Helper()
	var took time.Duration
	for range 3 {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
		want := context.DeadlineExceeded
		if cancelled {
			cancel()
			ctx, cancel = context.WithCancel(context.Background())
			time.AfterFunc(30*time.Millisecond, cancel)
			want = context.Canceled
		}
		start := time.Now()
		err := f(ctx)
		took = time.Since(start) - 30*time.Millisecond
		cancel()
		if !errors.Is(err, want) {
			t.Errorf("error = %v, want %v", err, want)
			return
		}
		if took < 100*time.Millisecond {
			return
		}
	}
	t.Errorf("returned %v after the end of the context", took)
}

// secured puts a TLS server before s and returns its address and what trusts it.
func secured(t *testing.T, s *testenv.DynamoServer) (addr string, config *tls.Config) {
	t.Helper()
	target, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	p := httptest.NewTLSServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, Transport: transport,
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) {},
	})
	t.Cleanup(p.Close)
	roots := x509.NewCertPool()
	roots.AddCert(p.Certificate())
	return p.Listener.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "example.com"}
}

// Rule: what the network has not delivered when a call is abandoned never arrives.
// No condition protects the writes of a batch, so this is the reset alone.
func abandonedBatch(t *testing.T, s *testenv.DynamoServer) {
	for _, encrypted := range []bool{false, true} {
		for _, cancelled := range []bool{false, true} {
			for _, size := range []int{10, 100_000} {
				t.Run(fmt.Sprintf("TLS=%v/cancel=%v/%d", encrypted, cancelled, size), func(t *testing.T) {
					other := onServer(t, s, nil)
					addr, scheme, transport := s.Addr(), "http://", &http.Transport{}
					t.Cleanup(transport.CloseIdleConnections)
					if encrypted {
						scheme = "https://"
						addr, transport.TLSClientConfig = secured(t, s)
					}
					p := testenv.Proxy(t, addr)
					b := over(t, connect(t, scheme+p.Addr(), func(o *dynamodb.Options) { o.HTTPClient = &http.Client{Transport: transport} }), other.table, nil)
					set(t, b, "k0", "before") // a connection is open
					items := make([]backends.Item, 4)
					for i := range items {
						items[i] = backends.Item{Key: fmt.Sprint("k", i), Value: make([]byte, size), TTL: time.Minute}
					}
					p.Stall()
					abandoned(t, cancelled, func(ctx context.Context) error { return b.SetMany(ctx, items)[0] })
					abandoned(t, cancelled, func(ctx context.Context) error { return b.DeleteMany(ctx, []string{"k0"})[0].Err })
					set(t, other.Backend, "k0", "newer")
					p.Resume()
					settle(t, p)
					want(t, other.Backend, "k0", "newer")
					want(t, b, "k0", "newer")
				})
			}
		}
	}
}

// settle waits until the proxy has delivered what it held back.
func settle(t *testing.T, p *testenv.FaultProxy) {
	t.Helper()
	last := -1
	testenv.Poll(t, 5*time.Second, "the held bytes to pass", func() bool {
		n := len(p.Received())
		same := n == last
		last = n
		return same
	})
}

// waiting stands before a server and, while it holds, receives requests whole and
// passes them on only when it is released, although nobody waits for them: a
// server that is slow, as no reset of a connection can help.
type waiting struct {
	URL    string
	mu     sync.Mutex
	hold   bool
	held   []*http.Request
	bodies [][]byte
	target string
}

func hold(t *testing.T, s *testenv.DynamoServer) *waiting {
	t.Helper()
	w := &waiting{target: s.URL()}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	h := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.mu.Lock()
		if w.hold {
			w.held, w.bodies = append(w.held, r.Clone(context.Background())), append(w.bodies, body)
			w.mu.Unlock()
			<-r.Context().Done()
			return
		}
		w.mu.Unlock()
		resp, err := w.pass(transport, r, body)
		if err != nil {
			return
		}
		defer resp.Body.Close()
		for name, values := range resp.Header {
			rw.Header()[name] = values
		}
		rw.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(rw, resp.Body)
	}))
	t.Cleanup(h.Close)
	w.URL = h.URL
	return w
}

func (w *waiting) pass(transport http.RoundTripper, r *http.Request, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(context.Background(), r.Method, w.target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = r.Header.Clone()
	return transport.RoundTrip(req)
}

func (w *waiting) set(hold bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hold = hold
}

func (w *waiting) holds() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.held) > 0
}

// release executes what was held back and returns how many requests that were.
func (w *waiting) release(t *testing.T) (n int, answers string) {
	t.Helper()
	w.set(false)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	for i, r := range w.held {
		resp, err := w.pass(transport, r, w.bodies[i])
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		answers += string(body)
	}
	return len(w.held), answers
}

// Rule: a write that was abandoned and that the server executes late, although the
// client has reset its connection, does not win over a newer one, whoever wrote it.
func heldWrite(t *testing.T, s *testenv.DynamoServer) {
	for name, write := range map[string]func(context.Context, *dynamodbbackend.Backend) error{
		"Set": func(ctx context.Context, b *dynamodbbackend.Backend) error {
			return b.Set(ctx, "k", []byte("late"), time.Minute)
		},
		"Delete": func(ctx context.Context, b *dynamodbbackend.Backend) error { _, err := b.Delete(ctx, "k"); return err },
		"Touch": func(ctx context.Context, b *dynamodbbackend.Backend) error {
			_, err := b.Touch(ctx, "k", time.Millisecond)
			return err
		},
		"Swap": func(ctx context.Context, b *dynamodbbackend.Backend) error {
			_, err := b.Swap(ctx, "k", []byte("newer"), []byte("late"))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			other := onServer(t, s, nil)
			w := hold(t, s)
			b := over(t, connect(t, w.URL), other.table, nil)
			set(t, b, "k", "before")
			for _, newer := range []*dynamodbbackend.Backend{other.Backend, b} {
				w.set(true)
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- write(ctx, b) }()
				testenv.Poll(t, 5*time.Second, "the request to be received", w.holds)
				cancel()
				if err := <-done; !errors.Is(err, context.Canceled) {
					t.Errorf("error = %v, want %v", err, context.Canceled)
				}
				w.set(false)
				set(t, newer, "k", "newer")
				n, answers := w.release(t)
				if strings.Count(answers, "ConditionalCheckFailed") != n {
					t.Errorf("of %d late requests, not all were refused: %s", n, answers)
				}
				want(t, other.Backend, "k", "newer")
				w.held, w.bodies = nil, nil
			}
		})
	}
}

// Rule: an abandoned connection is closed and serves nobody else.
func cancelFreesTheConnection(t *testing.T, s *testenv.DynamoServer) {
	other := onServer(t, s, nil)
	p := testenv.Proxy(t, s.Addr())
	b := over(t, connect(t, "http://"+p.Addr()), other.table, nil)
	set(t, b, "a", "value of a")
	set(t, b, "b", "value of b")
	p.StallReplies()
	for range 3 {
		abandoned(t, true, func(ctx context.Context) error { _, err := b.Get(ctx, "a"); return err })
	}
	p.Resume()
	want(t, b, "b", "value of b")
	testenv.Poll(t, 10*time.Second, "abandoned connections to be closed", func() bool { return p.Conns() <= 1 })
}

// Rule: a lost answer to Lock is neither contention nor a second lock.
func lockSurvivesALostAnswer(t *testing.T, s *testenv.DynamoServer) {
	other := onServer(t, s, nil)
	p := testenv.Proxy(t, s.Addr())
	b := over(t, connect(t, "http://"+p.Addr()), other.table, nil)
	set(t, b, "warm", "")
	p.StallReplies()
	type result struct {
		token string
		err   error
	}
	done := make(chan result, 1)
	go func() {
		token, err := b.Lock(context.Background(), "k", time.Minute)
		done <- result{token, err}
	}()
	testenv.Poll(t, 5*time.Second, "the lock to be taken", func() bool { return raw(t, other.client, other.table, "k:lock") != nil })
	p.Cut()
	p.Resume()
	r := <-done
	if got := raw(t, other.client, other.table, "k:lock"); r.err != nil || string(got) != r.token {
		t.Errorf("Lock = %+v, stored is another token", r)
	}
}
