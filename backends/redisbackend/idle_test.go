package redisbackend_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// Rule: a connection that has been idle serves the next call. What ends a call
// (pollEvery) must not look like the end of its connection.
func TestIdleConnectionIsUsedAgain(t *testing.T) {
	opts := usable(testenv.Redis(t, nil).Addr())
	var dials atomic.Int64
	opts.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	b := newOver(t, redis.NewClient(opts))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for range 3 {
		if err := b.Set(ctx, "k", []byte("v"), time.Minute); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Get(ctx, "k"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(60 * time.Millisecond) // more than pollEvery
	}
	if n := dials.Load(); n != 1 {
		t.Errorf("%d connections for calls one after the other, want 1", n)
	}
}
