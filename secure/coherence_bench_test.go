package secure_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/internal/beside"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
	"github.com/cachekit-io/cachekit-go/secure"
)

// BenchmarkCoherence compares a cache with Options.Coherence with one without: 95
// reads and 5 writes of 100 over 1,000 keys of 1 KiB, in turns in one run. The
// ratio is the median over the rounds of its throughput on by that off; one op is
// a round of both. The rows "redis" show what is Redis's share in it: both sides
// read the same cache without coherence and write by bare go-redis, over a connection
// with CLIENT TRACKING as a coherent cache has it, and over one without.
func BenchmarkCoherence(b *testing.B) {
	server := testenv.Redis(b, nil)
	for _, callers := range []int{1, 16} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			off, on := mixed(b, server, secure.Off), mixed(b, server, secure.On)
			compare(b, callers, traffic{off, setter(off)}, traffic{on, setter(on)})
			b.ReportMetric(hitRate(on), "on-hit-rate")
			b.ReportMetric(hitRate(off), "off-hit-rate")
		})
	}
	b.Run("callers=1/redis", func(b *testing.B) {
		reads := mixed(b, server, secure.Off)
		compare(b, 1, traffic{reads, bareSetter(b, server, "off:", false)}, traffic{reads, bareSetter(b, server, "on:", true)})
	})
}

// traffic is a cache that is read, and what writes.
type traffic struct {
	reads *secure.Cache
	set   func(ctx context.Context, key string) error
}

func compare(b *testing.B, callers int, off, on traffic) {
	round := func(t traffic) float64 { return c95(b, t, callers, 4_000) }
	round(off)
	round(on)
	var ratios, offs, ons []float64
	for i := 0; b.Loop(); i++ {
		var x, y float64
		if i%2 == 0 {
			x, y = round(off), round(on)
		} else {
			y, x = round(on), round(off)
		}
		ratios, offs, ons = append(ratios, y/x), append(offs, x), append(ons, y)
	}
	b.ReportMetric(beside.Median(ratios), "ratio")
	b.ReportMetric(beside.Median(offs), "off-ops/s")
	b.ReportMetric(beside.Median(ons), "on-ops/s")
}

func hitRate(c *secure.Cache) float64 {
	s := c.Stats().L1
	return float64(s.Hits) / float64(s.Hits+s.Misses)
}

func setter(c *secure.Cache) func(ctx context.Context, key string) error {
	value := newItem(1, 1024)
	return func(ctx context.Context, key string) error { return c.Set(ctx, key, &value) }
}

// bareSetter writes under prefix by go-redis, over one connection, which is told
// of changes by others there if it tracks.
func bareSetter(b *testing.B, server *testenv.RedisServer, prefix string, tracks bool) func(ctx context.Context, key string) error {
	opts, err := redis.ParseURL(server.URL())
	if err != nil {
		b.Fatal(err)
	}
	opts.PoolSize = 1
	if tracks {
		opts.OnConnect = func(ctx context.Context, c *redis.Conn) error {
			return c.Process(ctx, redis.NewCmd(ctx, "client", "tracking", "on", "bcast", "noloop", "prefix", prefix))
		}
	}
	client := redis.NewClient(opts)
	b.Cleanup(func() { _ = client.Close() })
	value := make([]byte, 1100)
	return func(ctx context.Context, key string) error {
		return client.Set(ctx, prefix+key, value, time.Hour).Err()
	}
}

const mixedKeys = 1000

// mixed is a cache whose in-process layer holds all keys.
func mixed(b *testing.B, server *testenv.RedisServer, coherence secure.Switch) *secure.Cache {
	b.Helper()
	backend, err := redisbackend.Open(b.Context(), server.URL(), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = backend.Close() })
	c := coherent(b, backend, func(o *secure.Options) { o.Coherence, o.Namespace = coherence, fmt.Sprint("bench", coherence) })
	if coherence == secure.On {
		testenv.Poll(b, 20*time.Second, "reports", func() bool { return c.Stats().Coherence.Up })
	}
	for i := range mixedKeys {
		value := newItem(i, 1024)
		if err := c.Set(b.Context(), fmt.Sprint(i), &value); err != nil {
			b.Fatal(err)
		}
	}
	return c
}

// c95 runs n calls by so many callers and returns the calls a second.
func c95(b *testing.B, t traffic, callers, n int) float64 {
	ctx := context.Background()
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	start := time.Now()
	for range callers {
		wg.Go(func() {
			var out item
			for left.Add(-1) >= 0 {
				key := fmt.Sprint(rand.IntN(mixedKeys))
				var err error
				if rand.IntN(20) == 0 {
					err = t.set(ctx, key)
				} else {
					_, err = t.reads.Get(ctx, key, &out)
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return float64(n) / time.Since(start).Seconds()
}
