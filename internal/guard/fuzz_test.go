package guard_test

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/guard"
)

// FuzzAnswer puts bytes in place of an HTTP/1.1 answer: what is taken is within
// its limit and came from the server, and what is refused is not repeated.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nvalue",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nvalue\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\nv", "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nvalue",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
		"HTTP/1.0 200 OK\r\n\r\nuntil the end", "HTTP/9.9 200 OK\r\n\r\n", "HTTP/1.1 -1 canary\r\n\r\n", "SSH-2.0-canary\r\n", "\r\n", "",
	} {
		f.Add([]byte(seed))
	}
	const limit = 64
	f.Fuzz(func(t *testing.T, answer []byte) {
		origin, err := guard.Rules{Plain: true}.Parse("http://kv.example.com")
		if err != nil {
			t.Fatal(err)
		}
		tr := guard.New(origin, guard.Config{Timeout: 2 * time.Second, Dial: func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() {
				defer far.Close()
				_, _ = far.Read(make([]byte, 4096))
				_, _ = far.Write(answer)
			}()
			return guard.Admit(near), nil
		}})
		defer tr.Close()
		resp, err := tr.Do(t.Context(), guard.Request{Method: http.MethodGet, Target: "/k", Limit: limit})
		switch {
		case err != nil && bytes.Contains(answer, []byte("canary")) && strings.Contains(err.Error(), "canary"):
			t.Errorf("the error repeats the answer: %v", err)
		case err == nil && resp.Status >= 200 && resp.Status < 300 && len(resp.Body) > limit:
			t.Errorf("%d bytes were taken, the limit is %d", len(resp.Body), limit)
		case err == nil && len(resp.Body) > len(answer):
			t.Errorf("the body is longer than the answer")
		}
	})
}

// FuzzRetryAfter: whatever a server asks for is between nothing and a day.
func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{
		"", "0", "1", "86400", "86401", "999999", "1000000", "99999999999999999999", "-1", "1.5", " 5",
		"Fri, 31 Dec 2100 23:59:59 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Fri, 31 Dec 9999 23:59:59 GMT",
	} {
		f.Add(seed, int64(1_800_000_000))
	}
	f.Fuzz(func(t *testing.T, value string, now int64) {
		if d := guard.RetryAfter(http.Header{"Retry-After": {value}}, time.Unix(now, 0)); d < 0 || d > 24*time.Hour {
			t.Errorf("RetryAfter(%q) at %d = %v", value, now, d)
		}
	})
}
