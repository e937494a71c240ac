package redisbackend_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

func tlsServer(t *testing.T) (*testenv.RedisServer, *testenv.FaultProxy, *redisbackend.Backend) {
	t.Helper()
	s := testenv.Redis(t, &testenv.RedisOptions{TLS: true})
	p := testenv.Proxy(t, s.TLSAddr())
	opts := usable(p.Addr())
	opts.TLSConfig = s.TLSConfig()
	return s, p, newOver(t, redis.NewClient(opts))
}

// Rule: over TLS too, calls end with their context, also while a write blocks,
// and an abandoned write never lands over a newer one.
func TestTLSAbandonedCalls(t *testing.T) {
	for _, cancelled := range []bool{false, true} {
		for _, size := range []int{10, 16 << 20} {
			t.Run(fmt.Sprintf("cancel=%v/%d", cancelled, size), func(t *testing.T) {
				s, p, b := tlsServer(t)
				set(t, b, "k", "before")
				p.Stall()
				quick(t, cancelled, func(ctx context.Context) error { return b.Set(ctx, "k", make([]byte, size), time.Minute) })
				quick(t, cancelled, func(ctx context.Context) error { _, err := b.Get(ctx, "k"); return err })
				s.Do("SET", "k", "newer")
				p.Resume()
				settle(t, p)
				want(t, b, "k", "newer")
			})
		}
	}
}

func TestOpenTLS(t *testing.T) {
	s := testenv.Redis(t, &testenv.RedisOptions{TLS: true})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := redisbackend.Open(ctx, "rediss://"+s.TLSAddr(), nil)
	var unknown *tls.CertificateVerificationError
	var failed *backends.Error
	if !errors.As(err, &unknown) || !errors.As(err, &failed) {
		t.Errorf("Open with an unknown certificate = %v", err)
	}
	b := open(t, "rediss://"+s.TLSAddr()+"?skip_verify=true", nil)
	set(t, b, "k", "v")
	want(t, b, "k", "v")
}

// Rule: a server that is slow for many polling steps is no error.
func TestSlowServer(t *testing.T) {
	overTLS, _, tlsBackend := tlsServer(t)
	plain, plainBackend := server(t)
	for name, c := range map[string]struct {
		s *testenv.RedisServer
		b *redisbackend.Backend
	}{"plain": {plain, plainBackend}, "TLS": {overTLS, tlsBackend}} {
		t.Run(name, func(t *testing.T) {
			value := make([]byte, 8<<20)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for range 3 {
				c.s.Pause()
				time.AfterFunc(200*time.Millisecond, c.s.Resume)
				if err := c.b.Set(ctx, "k", value, time.Minute); err != nil {
					t.Fatalf("Set: %v", err)
				}
				c.s.Pause()
				time.AfterFunc(200*time.Millisecond, c.s.Resume)
				if v, err := c.b.Get(ctx, "k"); err != nil || len(v) != len(value) {
					t.Fatalf("Get: %d bytes, %v", len(v), err)
				}
			}
		})
	}
}
