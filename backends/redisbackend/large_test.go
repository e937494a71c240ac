package redisbackend_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// mixed returns items with values on both sides of every limit of what is copied
// before it is sent, of different bytes each.
func mixed(n int) []backends.Item {
	sizes := []int{0, 1, 1 << 10, 16 << 10, 16<<10 + 1, 64 << 10, 64<<10 + 1, 1 << 20}
	random := rand.NewChaCha8([32]byte{1})
	items := make([]backends.Item, n)
	for i := range items {
		items[i] = backends.Item{Key: fmt.Sprintf("k:%d", i), Value: make([]byte, sizes[random.Uint64()%uint64(len(sizes))]), TTL: time.Minute}
		_, _ = random.Read(items[i].Value)
	}
	return items
}

func named(items []backends.Item) (keys []string) {
	for _, it := range items {
		keys = append(keys, it.Key)
	}
	return keys
}

// Rule: a batch of values small and large is stored as it is, also if the server
// stops for many polling steps while it is sent.
func TestBatchesOfLargeValues(t *testing.T) {
	plain, secure := testenv.Redis(t, nil), testenv.Redis(t, &testenv.RedisOptions{TLS: true})
	for name, c := range map[string]struct {
		s   *testenv.RedisServer
		url string
	}{
		"TCP":  {plain, plain.URL()},
		"Unix": {plain, "unix://" + plain.Socket()},
		"TLS":  {secure, "rediss://" + secure.TLSAddr() + "?skip_verify=true"},
	} {
		t.Run(name, func(t *testing.T) {
			b, items := open(t, c.url, nil), mixed(100)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for range 2 {
				c.s.Pause()
				time.AfterFunc(200*time.Millisecond, c.s.Resume)
				for i, err := range b.SetMany(ctx, items) {
					if err != nil {
						t.Fatalf("item %d: %v", i, err)
					}
				}
				for i, r := range b.GetMany(ctx, named(items)) {
					if r.Err != nil || !bytes.Equal(r.Entry.Value, items[i].Value) {
						t.Errorf("item %d of %d bytes: %d other ones, %v", i, len(items[i].Value), len(r.Entry.Value), r.Err)
					}
				}
			}
		})
	}
}

// Rule: an abandoned batch of large values never lands over a newer write.
func TestAbandonedLargeBatch(t *testing.T) {
	s := testenv.Redis(t, nil)
	p := testenv.Proxy(t, s.Addr())
	b, items := open(t, s.URLAt(p.Addr()), nil), mixed(200)
	for _, cancelled := range []bool{false, true} {
		set(t, b, "k:0", "before")
		p.Stall()
		quick(t, cancelled, func(ctx context.Context) error { return b.SetMany(ctx, items)[0] })
		for _, it := range items {
			s.Do("SET", it.Key, "newer")
		}
		p.Resume()
		settle(t, p)
		for _, it := range items {
			want(t, b, it.Key, "newer")
		}
	}
}
