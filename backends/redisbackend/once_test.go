package redisbackend_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// deaf is a connection that delivers requests about one key, counts them, and is
// lost before their replies.
type deaf struct {
	net.Conn
	count *atomic.Int64
	lost  atomic.Bool
}

const lostKey = "the-reply-is-lost"

func (d *deaf) Write(b []byte) (int, error) {
	if n := strings.Count(string(b), "\r\n"+lostKey); n > 0 && !bytes.Contains(b, []byte("\nexists\r")) {
		d.count.Add(1)
		d.lost.Store(true)
	}
	return d.Conn.Write(b)
}

func (d *deaf) Read(b []byte) (int, error) {
	if d.lost.Load() {
		return 0, io.EOF
	}
	return d.Conn.Read(b)
}

// Rule: no command that changes a key is sent twice, whatever kind of client
// sends it. A Cluster client of go-redis repeats commands after a network
// failure whatever its MaxRetries are.
func TestNoWriteIsSentTwice(t *testing.T) {
	var count atomic.Int64
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &deaf{Conn: conn, count: &count}, nil
	}
	single, cluster := testenv.Redis(t, nil), testenv.RedisCluster(t, 0)
	var addrs []string
	for _, n := range cluster.Masters {
		addrs = append(addrs, n.Addr())
	}
	for name, client := range map[string]redis.UniversalClient{
		"client": redis.NewClient(&redis.Options{Addr: single.Addr(), Dialer: dial, ContextTimeoutEnabled: true, MaxRetries: -1}),
		"ring": redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"one": single.Addr()}, Dialer: dial,
			ContextTimeoutEnabled: true, MaxRetries: -1}),
		"cluster": redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, Dialer: dial, ContextTimeoutEnabled: true, MaxRetries: -1}),
	} {
		t.Run(name, func(t *testing.T) { sendsOnce(t, newOver(t, client), &count) })
	}
}

// A lock is tried once more under the same token, and no more.
func sendsOnce(t *testing.T, b *redisbackend.Backend, count *atomic.Int64) {
	value := []byte("v")
	for op, call := range map[string]func(context.Context) error{
		"Lock": func(ctx context.Context) error { _, err := b.Lock(ctx, lostKey, time.Minute); return err },
		"LockMany": func(ctx context.Context) error {
			return b.LockMany(ctx, []string{lostKey, "other"}, time.Minute)[0].Err
		},
		"UnlockMany": func(ctx context.Context) error {
			return b.UnlockMany(ctx, []backends.HeldLock{{Key: lostKey, Token: "token"}})[0].Err
		},
		"Set":    func(ctx context.Context) error { return b.Set(ctx, lostKey, value, time.Minute) },
		"Delete": func(ctx context.Context) error { _, err := b.Delete(ctx, lostKey); return err },
		"Touch":  func(ctx context.Context) error { _, err := b.Touch(ctx, lostKey, time.Minute); return err },
		"Unlock": func(ctx context.Context) error { _, err := b.Unlock(ctx, lostKey, "token"); return err },
		"Swap":   func(ctx context.Context) error { _, err := b.Swap(ctx, lostKey, value, value); return err },
		"Replace": func(ctx context.Context) error {
			_, err := b.Replace(ctx, lostKey, value, value, time.Minute)
			return err
		},
		"SetMany": func(ctx context.Context) error {
			return errors.Join(b.SetMany(ctx, []backends.Item{{Key: lostKey, Value: value, TTL: time.Minute}})...)
		},
		"DeleteMany": func(ctx context.Context) error { return b.DeleteMany(ctx, []string{lostKey})[0].Err },
		"SwapMany": func(ctx context.Context) error {
			return b.SwapMany(ctx, []backends.SwapItem{{Key: lostKey, Old: value, New: value}})[0].Err
		},
		"RewriteMany": func(ctx context.Context) error {
			return b.RewriteMany(ctx, []string{lostKey}, keepValue, nil)[0].Err
		},
	} {
		for how, ctx := range map[string]context.Context{"a context that ends": t.Context(), "none": context.Background()} {
			count.Store(0)
			if err := call(ctx); err == nil {
				t.Errorf("%s, %s: the reply was lost, but there is no error", op, how)
			}
			times := int64(1)
			if strings.HasPrefix(op, "Lock") {
				times = 2
			}
			if n := count.Load(); n != times {
				t.Errorf("%s, %s: sent %d times, want %d", op, how, n, times)
			}
		}
	}
}
