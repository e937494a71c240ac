package secure_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/internal/beside"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
	"github.com/cachekit-io/cachekit-go/secure"
)

// BenchmarkCoherence compares a cache with Options.Coherence with one without: 95
// reads and 5 writes of 100 over 1,000 keys of 1 KiB, in turns in one run. The
// ratio is the median over the rounds of its throughput on by that off; one op is
// a round of both.
func BenchmarkCoherence(b *testing.B) {
	server := testenv.Redis(b, nil)
	for _, callers := range []int{1, 16} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			off, on := mixed(b, server, secure.Off), mixed(b, server, secure.On)
			round := func(c *secure.Cache) float64 { return c95(b, c, callers, 4_000) }
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
			s := on.Stats()
			b.ReportMetric(float64(s.L1.Hits)/float64(s.L1.Hits+s.L1.Misses), "on-hit-rate")
		})
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
func c95(b *testing.B, c *secure.Cache, callers, n int) float64 {
	ctx := context.Background()
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	start := time.Now()
	for range callers {
		wg.Go(func() {
			var out item
			value := newItem(1, 1024)
			for left.Add(-1) >= 0 {
				key := fmt.Sprint(rand.IntN(mixedKeys))
				var err error
				if rand.IntN(20) == 0 {
					err = c.Set(ctx, key, &value)
				} else {
					_, err = c.Get(ctx, key, &out)
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
