package secure_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
	"github.com/cachekit-io/cachekit-go/secure"
)

// BenchmarkRedis compares encrypted reads and writes of 1 KiB, in-process layer
// off, with bare go-redis moving the same number of bytes, for one caller and
// for 16, and a batch of 100 keys with a bare MGET.
func BenchmarkRedis(b *testing.B) {
	ctx := context.Background()
	server := testenv.Redis(b, nil)
	opts, err := redis.ParseURL(server.URL())
	if err != nil {
		b.Fatal(err)
	}
	opts.PoolSize = 32
	bare := redis.NewClient(opts)
	defer bare.Close()
	backend, err := redisbackend.Open(ctx, server.URL(), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer backend.Close()
	c, err := secure.New(ctx, &secure.Options{Backend: backend, MasterKey: key(b, "1"), NoL1: true})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	const n = 100
	value := newItem(1, 1024)
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprint("item:", i)
		if err := c.Set(ctx, keys[i], value); err != nil {
			b.Fatal(err)
		}
	}
	sealed, err := bare.Get(ctx, keys[0]).Bytes()
	if err != nil {
		b.Fatal(err)
	}
	for i := range keys {
		bare.Set(ctx, "bare:"+keys[i], sealed, 0)
	}
	for _, callers := range []int{1, 16} {
		for _, bc := range []struct {
			name string
			run  func(i int) error
		}{
			{"get/go-redis", func(i int) error { return bare.Get(ctx, "bare:"+keys[i%n]).Err() }},
			{"get/secure", func(i int) error { var out item; _, err := c.Get(ctx, keys[i%n], &out); return err }},
			{"set/go-redis", func(i int) error { return bare.Set(ctx, "bare:"+keys[i%n], sealed, 0).Err() }},
			{"set/secure", func(i int) error { return c.Set(ctx, keys[i%n], &value) }},
		} {
			b.Run(fmt.Sprintf("%s/callers=%d", bc.name, callers), func(b *testing.B) {
				b.ReportAllocs()
				if callers == 1 {
					for i := 0; b.Loop(); i++ {
						if err := bc.run(i); err != nil {
							b.Fatal(err)
						}
					}
					return
				}
				var i atomic.Int64
				b.SetParallelism(callers / 2) // times GOMAXPROCS, which is 2 where the figures are from
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if err := bc.run(int(i.Add(1))); err != nil {
							b.Error(err)
						}
					}
				})
			})
		}
	}
	b.Run("mget100/go-redis", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := bare.MGet(ctx, keys...).Err(); err != nil {
				b.Fatal(err)
			}
		}
	})
	v := secure.For[item](c)
	b.Run("mget100/secure", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if got, err := v.GetMany(ctx, keys); err != nil || len(got) != n {
				b.Fatal(len(got), err)
			}
		}
	})
}
