package redisbackend_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// A go-redis pool that could not dial looks for its server once a second, and
// sees up to a second late that it has been closed.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

func open(t testing.TB, url string, opts *redisbackend.Options) *redisbackend.Backend {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	b, err := redisbackend.Open(ctx, url, opts)
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

// usable are options of a client that New accepts.
func usable(addr string) *redis.Options {
	return &redis.Options{Addr: addr, ContextTimeoutEnabled: true, MaxRetries: -1}
}

func newOver(t testing.TB, client redis.UniversalClient) *redisbackend.Backend {
	t.Helper()
	b, err := redisbackend.New(client, nil)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := client.Close(); err != nil {
			t.Errorf("close client: %v", err)
		}
	})
	return b
}

func set(t testing.TB, b *redisbackend.Backend, key, value string) {
	t.Helper()
	if err := b.Set(t.Context(), key, []byte(value), time.Minute); err != nil {
		t.Fatalf("Set: %v", err)
	}
}

func want(t testing.TB, b *redisbackend.Backend, key, value string) {
	t.Helper()
	got, err := b.Get(t.Context(), key)
	if err != nil || string(got) != value {
		t.Fatalf("Get = %q, %v, want %q", got, err, value)
	}
}

func server(t testing.TB) (*testenv.RedisServer, *redisbackend.Backend) {
	t.Helper()
	s := testenv.Redis(t, nil)
	return s, open(t, s.URL(), nil)
}
