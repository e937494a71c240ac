package httpbackend_test

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/httpbackend"
	"github.com/cachekit-io/cachekit-go/internal/pathkey"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "token-canary-4711"

// fileNames are the rules of a server that keeps each entry in a file whose name
// is the encoded key, and that resolves dots in the path before it looks.
var fileNames = backends.KeyRules{Refuse: func(key string) string {
	switch name := url.PathEscape(key); {
	case len(encoded(key)) > 255:
		return "key takes more than the 255 bytes of a file name"
	case strings.HasSuffix(key, "/") || strings.Contains(name, "..%2F") || strings.HasSuffix(name, "%2F.."):
		return "key looks like a directory"
	}
	return ""
}}

func encoded(key string) string {
	name, err := pathkey.Encode(key)
	if err != nil {
		return ""
	}
	return name
}

// at opens a backend on the nginx s, reached at addr.
func at(tb testing.TB, s *testenv.NginxServer, scheme, addr string, change func(*httpbackend.Options)) *httpbackend.Backend {
	tb.Helper()
	o := httpbackend.Options{
		PlainHTTP: true, PrivateNetwork: true,
		RootCAs:    s.TLSConfig().RootCAs,
		Credential: httpbackend.Bearer(token),
		KeyRules:   fileNames,
		Timeout:    10 * time.Second,
	}
	if change != nil {
		change(&o)
	}
	return open(tb, scheme+"://"+addr+"/{key}", &o)
}

func open(tb testing.TB, url string, o *httpbackend.Options) *httpbackend.Backend {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	b, err := httpbackend.Open(ctx, url, o)
	if err != nil {
		tb.Fatalf("Open: %v", err)
	}
	tb.Cleanup(func() { _ = b.Close() })
	return b
}

func set(t testing.TB, b *httpbackend.Backend, key, value string) {
	t.Helper()
	if err := b.Set(t.Context(), key, []byte(value), time.Minute); err != nil {
		t.Fatalf("Set: %v", err)
	}
}

func want(t testing.TB, b *httpbackend.Backend, key, value string) {
	t.Helper()
	if got, err := b.Get(t.Context(), key); err != nil || string(got) != value {
		t.Fatalf("Get = %q, %v, want %q", got, err, value)
	}
}
