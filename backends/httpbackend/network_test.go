package httpbackend_test

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/httpbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// newRecorder is a server that answers 200 to everything, and shows the requests
// that are not for Health.
func newRecorder(t *testing.T, see func(*http.Request)) string {
	t.Helper()
	var mu sync.Mutex
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Method != http.MethodHead {
			see(r)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func kindOf(err error) backends.Kind {
	var e *backends.Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return 0
}

// Rule: nginx's refusals are what they are: a wrong token is Auth, its limit on
// bodies is TooLarge, and the connection goes on.
func TestNginxRefusals(t *testing.T) {
	s := testenv.Nginx(t, &testenv.NginxOptions{Authorization: "Bearer " + token, MaxBody: 1 << 20})
	for scheme, addr := range map[string]string{"http": s.Addr(), "https": s.TLSAddr()} {
		_, err := httpbackend.Open(t.Context(), scheme+"://"+addr+"/{key}", &httpbackend.Options{
			PlainHTTP: true, PrivateNetwork: true, RootCAs: s.TLSConfig().RootCAs, Credential: httpbackend.Bearer("wrong-canary"),
		})
		if kindOf(err) != backends.Auth || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: a wrong token = %v, want kind auth", scheme, err)
		}
		b := at(t, s, scheme, addr, nil)
		set(t, b, "k", "before")
		if err := b.Set(t.Context(), "k", make([]byte, 2<<20), time.Minute); kindOf(err) != backends.TooLarge {
			t.Errorf("%s: a body over nginx's limit = %v, want kind too large", scheme, err)
		}
		want(t, b, "k", "before")
		if p := b.Health(t.Context()).Details["protocol"]; p != map[string]string{"http": "HTTP/1.1", "https": "HTTP/2.0"}[scheme] {
			t.Errorf("%s speaks %s", scheme, p)
		}
	}
}

// Rule: nginx ends a connection after so many requests (GOAWAY on HTTP/2); no
// call fails of it.
func TestNginxGoAway(t *testing.T) {
	s := testenv.Nginx(t, &testenv.NginxOptions{Config: []string{"keepalive_requests 20;"}})
	for scheme, addr := range map[string]string{"http": s.Addr(), "https": s.TLSAddr()} {
		b := at(t, s, scheme, addr, nil)
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				for i := range 100 {
					k := fmt.Sprint(g, ":", i%7)
					if err := b.Set(t.Context(), k, []byte(k), time.Minute); err != nil {
						t.Errorf("%s: Set %d: %v", scheme, i, err)
					} else if v, err := b.Get(t.Context(), k); err != nil || string(v) != k {
						t.Errorf("%s: Get %d: %q, %v", scheme, i, v, err)
					}
				}
			})
		}
		wg.Wait()
	}
}

// Rule: calls work again when the server is back, without a new backend.
func TestNginxComesBack(t *testing.T) {
	s := testenv.Nginx(t, nil)
	for scheme, addr := range map[string]string{"http": s.Addr(), "https": s.TLSAddr()} {
		p := testenv.Proxy(t, addr)
		b := at(t, s, scheme, p.Addr(), nil)
		set(t, b, "k", "v")
		p.Cut()
		testenv.Poll(t, 5*time.Second, "a call to succeed after a reset", func() bool {
			v, err := b.Get(t.Context(), "k")
			return err == nil && string(v) == "v"
		})
		p.Stall()
		start := time.Now()
		time.AfterFunc(300*time.Millisecond, p.Resume)
		want(t, b, "k", "v")
		if took := time.Since(start); took < 200*time.Millisecond {
			t.Errorf("%s: a stalled server answered after %v", scheme, took)
		}
	}
}

// Rule: the certificate has to be the host's and of a known authority, and a
// server without TLS is told apart.
func TestTLS(t *testing.T) {
	s := testenv.Nginx(t, nil)
	_, port, _ := net.SplitHostPort(s.TLSAddr())
	o := httpbackend.Options{PrivateNetwork: true, RootCAs: s.TLSConfig().RootCAs}
	for what, c := range map[string]struct {
		url string
		o   httpbackend.Options
	}{
		"another name":         {"https://localhost:" + port + "/{key}", o},
		"an unknown authority": {"https://" + s.TLSAddr() + "/{key}", httpbackend.Options{PrivateNetwork: true}},
	} {
		_, err := httpbackend.Open(t.Context(), c.url, &c.o)
		var cert *tls.CertificateVerificationError
		if !errors.As(err, &cert) || kindOf(err) != backends.Permanent {
			t.Errorf("%s = %v", what, err)
		}
	}
	_, err := httpbackend.Open(t.Context(), "https://"+s.Addr()+"/{key}", &o)
	if kindOf(err) != backends.Permanent || !strings.Contains(err.Error(), "does not speak TLS") {
		t.Errorf("http instead of https = %v", err)
	}
	o.PlainHTTP = true
	if _, err := httpbackend.Open(t.Context(), "http://"+s.TLSAddr()+"/{key}", &o); kindOf(err) != backends.Permanent {
		t.Errorf("https instead of http = %v", err)
	}
}

// Rule: a value that is truncated, too large, not framed, compressed or drips in
// is an error or a miss, never bytes, and the error tells nothing of it.
func TestLyingServer(t *testing.T) {
	framed := func(end uint64, value string) string {
		return "CKH1" + string(binary.BigEndian.AppendUint64(nil, end)) + value
	}
	body := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
	}
	cut := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, framed(0, "canary"))
	}
	for what, c := range map[string]struct {
		answer http.HandlerFunc
		want   backends.Kind // 0 for a miss
	}{
		"nothing":          {body(""), backends.Permanent},
		"half a frame":     {body(framed(0, "")[:11]), backends.Permanent},
		"no frame":         {body("canary canary canary"), backends.Permanent},
		"another frame":    {body("CKH2" + framed(0, "canary")[4:]), backends.Permanent},
		"a page":           {body("<html>canary</html>"), backends.Permanent},
		"expired":          {body(framed(1, "canary")), 0},
		"expired just now": {body(framed(uint64(time.Now().UnixMilli()), "canary")), 0},
		"cut":              {cut, backends.Transient},
		"too large":        {body(framed(0, strings.Repeat("canary", 1000))), backends.TooLarge},
		"a part": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(206)
			_, _ = io.WriteString(w, framed(0, "canary"))
		}, backends.Permanent},
		"compressed": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, framed(0, "canary"))
		}, backends.Permanent},
		"a drip": {func(w http.ResponseWriter, r *http.Request) {
			for i := 0; r.Context().Err() == nil; i++ {
				_, _ = io.WriteString(w, framed(0, "canary")[i%12:i%12+1])
				w.(http.Flusher).Flush()
				time.Sleep(5 * time.Millisecond)
			}
		}, backends.Timeout},
	} {
		b, answer := stub(t, &httpbackend.Options{MaxValueBytes: 5000, Timeout: 300 * time.Millisecond})
		answer.Store(&c.answer)
		v, err := b.Get(t.Context(), "k")
		if v != nil || err == nil || kindOf(err) != c.want || c.want == 0 && !errors.Is(err, backends.ErrNotFound) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s = %q, %v, want %v", what, v, err, c.want)
		}
		if what == "a part" {
			continue // Exists asks for a part
		}
		if ok, err := b.Exists(t.Context(), "k"); ok || kindOf(err) != c.want {
			t.Errorf("%s: Exists = %t, %v, want %v", what, ok, err, c.want)
		}
	}
	far := body(framed(1<<63, "v"))
	b, answer := stub(t, &httpbackend.Options{})
	answer.Store(&far)
	if e, err := b.GetEntry(t.Context(), "k"); err != nil || e.TTL != backends.NoExpiry || string(e.Value) != "v" {
		t.Errorf("an end out of range = %v, %v", e.TTL, err)
	}
}

// Rule: an abandoned write does not land over a newer one of another process,
// nginx, HTTP/2 and HTTP/1.1, also large ones and by cancel.
func TestAbandonedWrites(t *testing.T) {
	s := testenv.Nginx(t, nil)
	for scheme, addr := range map[string]string{"http": s.Addr(), "https": s.TLSAddr()} {
		for _, size := range []int{10, 8 << 20} {
			p := testenv.Proxy(t, addr)
			b, other := at(t, s, scheme, p.Addr(), nil), at(t, s, scheme, addr, nil)
			set(t, b, "k", "before")
			p.Stall()
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(30*time.Millisecond, cancel)
			if err := b.Set(ctx, "k", make([]byte, size), time.Minute); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: Set against a stall = %v", scheme, err)
			}
			set(t, other, "k", "newer")
			p.Resume()
			for range 30 {
				want(t, other, "k", "newer")
				time.Sleep(10 * time.Millisecond)
			}
		}
	}
}

// Rule: a newer write of the same backend stays, also if a stopped server still
// holds the bytes of one that was given up. nginx, one process, serves in the
// order of arrival; the package promises no more than that.
func TestNewerWriteAfterAStoppedServer(t *testing.T) {
	s := testenv.Nginx(t, nil)
	for scheme, addr := range map[string]string{"http": s.Addr(), "https": s.TLSAddr()} {
		b := at(t, s, scheme, addr, func(o *httpbackend.Options) { o.Timeout, o.PingTimeout = 20*time.Second, 20*time.Second })
		set(t, b, "k", "before")
		s.Process().Pause()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		if err := b.Set(ctx, "k", []byte("old"), time.Minute); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: Set to a stopped server = %v", scheme, err)
		}
		cancel()
		done := make(chan error, 1)
		go func() { done <- b.Set(context.Background(), "k", []byte("newer"), time.Minute) }()
		time.AfterFunc(200*time.Millisecond, s.Process().Resume)
		if err := <-done; err != nil {
			t.Errorf("%s: %v", scheme, err)
		}
		for range 20 {
			want(t, b, "k", "newer")
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// Rule: Options.HealthPath is asked for with GET, on the same host, and only the
// 200s are good.
func TestHealthPath(t *testing.T) {
	status := http.StatusOK
	var asked string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Method + " " + r.RequestURI
		w.WriteHeader(status)
	}))
	defer s.Close()
	b := open(t, s.URL+"/kv/{key}", &httpbackend.Options{PlainHTTP: true, PrivateNetwork: true, HealthPath: "/healthz?deep=1"})
	if asked != "GET /healthz?deep=1" {
		t.Errorf("Health asked for %s", asked)
	}
	for code, kind := range map[int]backends.Kind{200: 0, 204: 0, 404: backends.Permanent, 503: backends.Transient} {
		status = code
		if h := b.Health(t.Context()); h.OK != (kind == 0) || kindOf(h.Err) != kind {
			t.Errorf("%d: %+v", code, h)
		}
	}
}

// Rule: a client certificate is shown to a server that asks for one.
func TestClientCertificate(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) != 1 {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.StartTLS()
	defer s.Close()
	o := httpbackend.Options{PrivateNetwork: true, RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
	if _, err := httpbackend.Open(t.Context(), s.URL+"/{key}", &o); kindOf(err) != backends.Auth {
		t.Errorf("without a certificate = %v", err)
	}
	o.ClientCertificate = &s.TLS.Certificates[0]
	open(t, s.URL+"/{key}", &o)
}
