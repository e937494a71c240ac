package redisbackend_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
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

// Rule: handshakes that nobody waits for any more are few, and end soon.
func TestTLSAbandonedHandshakes(t *testing.T) {
	s := testenv.Redis(t, &testenv.RedisOptions{TLS: true})
	p := testenv.Proxy(t, s.TLSAddr())
	b := open(t, "rediss://"+p.Addr()+"?skip_verify=true&pool_size=2", nil)
	p.Stall()
	handshakes := func() int {
		buf := make([]byte, 4<<20)
		return strings.Count(string(buf[:runtime.Stack(buf, true)]), "redisbackend.dial.func")
	}
	for range 50 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		if _, err := b.Get(ctx, "k"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Get = %v", err)
		}
		cancel()
	}
	if n := handshakes(); n > 2 {
		t.Errorf("%d handshakes, want 2 at most", n)
	}
	// net/tls by itself gives a handshake 5 s.
	testenv.Poll(t, 3*time.Second, "the handshakes to end", func() bool { return handshakes() == 0 })
}

// Rule: the end of a call whose write over TLS was done does not hit the next one.
func TestTLSEndStrikesItsCallAlone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	striking, strike := make(chan struct{}), make(chan struct{})
	struck := false
	inner := &struckConn{
		write: func() { cancel(); <-striking },
		past:  func() { close(striking); <-strike; struck = true },
	}
	time.AfterFunc(50*time.Millisecond, func() { close(strike) })
	if _, err := redisbackend.WriteOpaque(ctx, inner, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if !struck {
		t.Error("the write has returned, and its deadline comes later")
	}
}

// struckConn calls past for a deadline that has passed long ago.
type struckConn struct {
	net.Conn
	write, past func()
}

func (c *struckConn) Write(b []byte) (int, error)     { c.write(); return len(b), nil }
func (c *struckConn) SetReadDeadline(time.Time) error { return nil }
func (c *struckConn) SetWriteDeadline(t time.Time) error {
	if !t.IsZero() && time.Since(t) > time.Hour {
		c.past()
	}
	return nil
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
