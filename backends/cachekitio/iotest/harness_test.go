package iotest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cachekit-io/cachekit-go/backends/cachekitio/iotest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, opts *iotest.Options) *iotest.Server {
	t.Helper()
	s, err := iotest.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// frozen starts a server whose clock stands at a whole second plus offset, and
// moves by Advance alone.
func frozen(t *testing.T, offset time.Duration) *iotest.Server {
	now := time.Unix(1_700_000_000, 0).Add(offset)
	return start(t, &iotest.Options{Now: func() time.Time { return now }})
}

// client sends requests with one API key over one version of HTTP.
type client struct {
	t    *testing.T
	s    *iotest.Server
	http *http.Client
	key  string
}

func newClient(t *testing.T, s *iotest.Server, http2 bool) *client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	transport := &http.Transport{
		DialContext:     s.DialContext,
		TLSClientConfig: &tls.Config{RootCAs: s.RootCAs(), MinVersion: tls.VersionTLS12},
		Protocols:       protocols,
	}
	t.Cleanup(transport.CloseIdleConnections)
	noRedirect := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client{t: t, s: s, http: &http.Client{Transport: transport, CheckRedirect: noRedirect}, key: s.APIKey()}
}

// as is the client with another API key.
func (c client) as(key string) *client {
	c.key = key
	return &c
}

// reply is a response that was read to its end.
type reply struct {
	status int
	proto  int
	header http.Header
	body   string
}

func (r reply) field(name string) any {
	var fields map[string]any
	if json.Unmarshal([]byte(r.body), &fields) != nil {
		return "no JSON"
	}
	return fields[name]
}

// try sends one request; headers are "Name: value".
func (c *client) try(ctx context.Context, method, path, body string, headers ...string) (reply, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.s.URL(), strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	r.URL.Opaque = "//" + r.URL.Host + path // as it is, not cleaned
	r.Header.Set("Authorization", "Bearer "+c.key)
	r.Header.Set("X-CacheKit-L1-Status", "miss")
	if method == http.MethodPut {
		r.Header.Set("Content-Type", "application/octet-stream")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if value == "" {
			r.Header.Del(name)
		} else {
			r.Header.Set(name, value)
		}
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.ProtoMajor, maps.Clone(resp.Header), string(text)}, err
}

func (c *client) do(method, path, body string, headers ...string) reply {
	c.t.Helper()
	r, err := c.try(within(c.t, patience), method, path, body, headers...)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

// want fails unless the request has the status.
func (c *client) want(status int, method, path, body string, headers ...string) reply {
	c.t.Helper()
	r := c.do(method, path, body, headers...)
	if r.status != status {
		c.t.Fatalf("%s %.80s %v: status %d %s, want %d", method, path, headers, r.status, r.body, status)
	}
	return r
}

const base = "/v1/cache/"

// both runs a test over HTTP/2 and HTTP/1.1.
func both(t *testing.T, test func(t *testing.T, s *iotest.Server, c *client)) {
	for name, http2 := range map[string]bool{"HTTP/2": true, "HTTP/1.1": false} {
		t.Run(name, func(t *testing.T) {
			s := start(t, nil)
			test(t, s, newClient(t, s, http2))
		})
	}
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func big(n int) string { return string(bytes.Repeat([]byte{'x'}, n)) }
