package guard_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/guard"
)

// lying answers every connection with text.
func lying(t *testing.T, text string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 4096)
				_, _ = c.Read(buf)
				_, _ = io.WriteString(c, text)
			}()
		}
	}()
	return l.Addr().String()
}

// Rule: no error repeats what a server said.
func TestLyingServers(t *testing.T) {
	for name, text := range map[string]string{
		"garbage":          "canary\r\n\r\n",
		"no status":        "HTTP/1.1 canary\r\n\r\n",
		"a bad header":     "HTTP/1.1 200 OK\r\ncanary\r\n\r\n",
		"a bad length":     "HTTP/1.1 200 OK\r\nContent-Length: canary\r\n\r\n",
		"two lengths":      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 222\r\n\r\ncanary",
		"a cut body":       "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncanary",
		"bad chunks":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ncanary\r\n",
		"another encoding": "HTTP/1.1 200 OK\r\nTransfer-Encoding: canary\r\n\r\n",
		"compressed":       "HTTP/1.1 200 OK\r\nContent-Encoding: canary\r\nContent-Length: 1\r\n\r\nx",
		"endless headers":  "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-Canary: canary\r\n", 10_000),
		"nothing":          "",
	} {
		tr := transport(t, "http://"+lying(t, text), guard.Config{Rules: guard.Rules{Plain: true, Private: true}})
		_, err := get(t.Context(), tr, "/canary")
		var e *backends.Error
		if !errors.As(guard.Failure(t.Context(), "http", "get", err), &e) || strings.Contains(fmt.Sprintf("%+v", err), "anary") {
			t.Errorf("%s: %v", name, err)
		}
	}
	tr := transport(t, "https://"+lying(t, "HTTP/1.1 400 Bad Request\r\n\r\n"), guard.Config{Rules: guard.Rules{Private: true}})
	if _, err := get(t.Context(), tr, "/"); err == nil || !strings.Contains(err.Error(), "does not speak TLS") {
		t.Errorf("http instead of https: %v", err)
	}
}

// Rule: the certificate must be the origin's, from a trusted authority, and TLS
// 1.2 or later.
func TestTLS(t *testing.T) {
	s := newServer(t, func(http.ResponseWriter, *http.Request) {})
	admit := func(ctx context.Context, network, _ string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, s.addr)
		if err != nil {
			return nil, err
		}
		return guard.Admit(c), nil
	}
	for name, tr := range map[string]*guard.Transport{
		"another name":         transport(t, "https://other.test", guard.Config{Dial: admit, RootCAs: s.roots}),
		"an unknown authority": transport(t, "https://example.com", guard.Config{Dial: admit}),
	} {
		_, err := get(t.Context(), tr, "/")
		var cert *tls.CertificateVerificationError
		var e *backends.Error
		if !errors.As(err, &cert) || !errors.As(guard.Failure(t.Context(), "http", "get", err), &e) || e.Kind != backends.Permanent {
			t.Errorf("%s: %v", name, err)
		}
	}
	old := httptest.NewUnstartedServer(http.NotFoundHandler())
	old.Config.ErrorLog = quiet
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	old.StartTLS()
	defer old.Close()
	tr := s.transportAt(t, old.Listener.Addr().String(), guard.Config{})
	if _, err := get(t.Context(), tr, "/"); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "99999": 24 * time.Hour, "99999999999999999999": 24 * time.Hour, "-1": 0, "1.5": 0, "soon": 0,
		"Fri, 02 Jan 2026 03:04:15 GMT": 10 * time.Second, "Fri, 02 Jan 2026 03:04:00 GMT": 0, "Fri, 02 Jan 2099 03:04:00 GMT": 24 * time.Hour,
	} {
		if got := guard.RetryAfter(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("%q = %v, want %v", text, got, want)
		}
	}
}
