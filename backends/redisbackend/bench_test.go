package redisbackend_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// callers runs b.N calls of f by n callers.
func callers(b *testing.B, n int, f func() error) {
	b.Helper()
	b.ReportAllocs()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ResetTimer()
	for range n {
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
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}

// BenchmarkCalls compares with bare go-redis in its default configuration, under
// a context that can end.
func BenchmarkCalls(b *testing.B) {
	s := testenv.Redis(b, nil)
	bare := redis.NewClient(&redis.Options{Addr: s.Addr()})
	b.Cleanup(func() { _ = bare.Close() })
	ours := open(b, s.URL(), nil)
	over := newOver(b, redis.NewClient(usable(s.Addr())))
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	for _, size := range []int{1 << 10, 64 << 10} {
		key, value := fmt.Sprintf("k%d", size), make([]byte, size)
		set(b, ours, key, string(value))
		for _, n := range []int{1, 2, 4, 16, 128} {
			for _, c := range []struct {
				name string
				call func() error
			}{
				{"get/bare", func() error { return bare.Get(ctx, key).Err() }},
				{"get/Open", func() error { _, err := ours.Get(ctx, key); return err }},
				{"get/New", func() error { _, err := over.Get(ctx, key); return err }},
				{"get entry/Open", func() error { _, err := ours.GetEntry(ctx, key); return err }},
				{"set/bare", func() error { return bare.Set(ctx, key, value, time.Minute).Err() }},
				{"set/Open", func() error { return ours.Set(ctx, key, value, time.Minute) }},
			} {
				b.Run(fmt.Sprintf("%s/%dB/x%d", c.name, size, n), func(b *testing.B) { callers(b, n, c.call) })
			}
		}
	}
}

// BenchmarkGetMany compares 100 keys of 1 KiB with a bare MGET.
func BenchmarkGetMany(b *testing.B) {
	s := testenv.Redis(b, nil)
	bare := redis.NewClient(&redis.Options{Addr: s.Addr()})
	b.Cleanup(func() { _ = bare.Close() })
	ours := open(b, s.URL(), nil)
	keys := make([]string, 100)
	items := make([]backends.Item, len(keys))
	for i := range keys {
		keys[i] = fmt.Sprintf("k%d", i)
		items[i] = backends.Item{Key: keys[i], Value: make([]byte, 1024), TTL: time.Minute}
	}
	for _, err := range ours.SetMany(b.Context(), items) {
		if err != nil {
			b.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	b.Run("bare", func(b *testing.B) {
		callers(b, 1, func() error { return bare.MGet(ctx, keys...).Err() })
	})
	b.Run("Open", func(b *testing.B) {
		callers(b, 1, func() error { return ours.GetMany(ctx, keys)[99].Err })
	})
}
