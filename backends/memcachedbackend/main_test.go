package memcachedbackend_test

import (
	"context"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/memcachedbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// proxies stand between a backend and its servers, by the servers' addresses.
type proxies map[string]*testenv.FaultProxy

func (p proxies) dial(ctx context.Context, network, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, p[address].Addr())
}

func (p proxies) each(f func(*testenv.FaultProxy)) func() {
	return func() {
		for _, proxy := range p {
			f(proxy)
		}
	}
}

func open(t testing.TB, list string, opts *memcachedbackend.Options) *memcachedbackend.Backend {
	t.Helper()
	if opts == nil {
		opts = &memcachedbackend.Options{Timeout: patient}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	b, err := memcachedbackend.Open(ctx, list, opts)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return b
}

func set(t testing.TB, b backends.Backend, key, value string) {
	t.Helper()
	if err := b.Set(t.Context(), key, []byte(value), time.Minute); err != nil {
		t.Fatalf("Set: %v", err)
	}
}

func want(t testing.TB, b backends.Backend, key, value string) {
	t.Helper()
	got, err := b.Get(t.Context(), key)
	if err != nil || string(got) != value {
		t.Fatalf("Get = %q, %v, want %q", got, err, value)
	}
}
