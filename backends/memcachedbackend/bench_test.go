package memcachedbackend_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// timed returns how long n calls of f by some callers take.
func timed(b *testing.B, callers, n int, f func() error) time.Duration {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	start := time.Now()
	for range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := f(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(start)
}

// beside runs the bare client and ours by turns, so that both meet the same
// noise, and reports the median of each and of their ratio (above 1: ours is
// faster).
func beside(b *testing.B, callers, keys int, bare, ours func() error) {
	const rounds = 15
	n := max(b.N/rounds, callers)
	var times [2][]float64
	var ratios []float64
	for i := range 2 * rounds {
		pair := []func() error{bare, ours}
		which := (i + i/2) % 2 // who goes first alternates too
		times[which] = append(times[which], timed(b, callers, n, pair[which]).Seconds()/float64(n*keys))
	}
	for i := range rounds {
		ratios = append(ratios, times[0][i]/times[1][i])
	}
	for _, s := range [][]float64{times[0], times[1], ratios} {
		slices.Sort(s)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(times[0][rounds/2]*1e6, "bare-us")
	b.ReportMetric(times[1][rounds/2]*1e6, "ours-us")
	b.ReportMetric(ratios[rounds/2], "ratio")
}

// BenchmarkCalls compares with bare gomemcache, whose pool is made large enough
// for the callers. Ours runs under a context that can end.
func BenchmarkCalls(b *testing.B) {
	s := testenv.Memcached(b, nil)
	bare := memcache.New(s.Addr())
	bare.MaxIdleConns, bare.Timeout = 64, patient
	b.Cleanup(func() { _ = bare.Close() })
	ours := open(b, s.Addr(), nil)
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	for _, size := range []int{64, 1 << 10, 64 << 10} {
		key, value := fmt.Sprintf("k%d", size), make([]byte, size)
		set(b, ours, key, string(value))
		keys, items := make([]string, 100), make([]backends.Item, 100)
		for i := range keys {
			keys[i] = fmt.Sprintf("many:%d:%d", size, i)
			items[i] = backends.Item{Key: keys[i], Value: value, TTL: time.Hour}
		}
		ours.SetMany(ctx, items)
		for _, c := range []struct {
			name       string
			keys       int
			bare, ours func() error
		}{
			{"get", 1, func() error { _, err := bare.Get(key); return err },
				func() error { _, err := ours.Get(ctx, key); return err }},
			{"entry", 1, func() error { _, err := bare.Get(key); return err },
				func() error { _, err := ours.GetEntry(ctx, key); return err }},
			{"set", 1, func() error { return bare.Set(&memcache.Item{Key: key, Value: value, Expiration: 60}) },
				func() error { return ours.Set(ctx, key, value, time.Minute) }},
			{"get100", 100, func() error { _, err := bare.GetMulti(keys); return err },
				func() error { return ours.GetMany(ctx, keys)[99].Err }},
			{"set100", 100, func() error {
				for i := range keys {
					if err := bare.Set(&memcache.Item{Key: keys[i], Value: value, Expiration: 60}); err != nil {
						return err
					}
				}
				return nil
			}, func() error { return ours.SetMany(ctx, items)[99] }},
		} {
			for _, callers := range []int{1, 16} {
				b.Run(fmt.Sprintf("%s/%dB/x%d", c.name, size, callers), func(b *testing.B) {
					beside(b, callers, c.keys, c.bare, c.ours)
				})
			}
		}
	}
}
