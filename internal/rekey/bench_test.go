package rekey_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/internal/rekey"
	"github.com/cachekit-io/cachekit-go/internal/store"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// BenchmarkRedis re-seals entries of 1 KiB on a local Redis, beside a bare
// pipeline that reads and rewrites the same entries. REKEY_ENTRIES sets their
// number; the figures in docs/keytool.md are of 1,000,000.
func BenchmarkRedis(b *testing.B) {
	n := 20_000
	if text := os.Getenv("REKEY_ENTRIES"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	server := testenv.Redis(b, nil)
	opts, err := redis.ParseURL(server.URL())
	if err != nil {
		b.Fatal(err)
	}
	client := redis.NewClient(opts)
	defer client.Close()
	backend, err := redisbackend.Open(b.Context(), server.URL(), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer backend.Close()
	old, fresh := masterKey(b, "a"), masterKey(b, "b")
	from := box(b, "default", old)
	doc := make([]byte, 1024)
	rand.Read(doc)
	fill := func(b *testing.B) {
		pipe := client.Pipeline()
		for i := range n {
			key := fmt.Sprint("bench:", i)
			pipe.Set(b.Context(), key, from.Seal(time.Now(), key, doc).Bytes(), time.Hour)
			if i%1000 == 999 || i == n-1 {
				if _, err := pipe.Exec(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	perEntry := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/entry")
	}
	b.Run("bare-pipeline", func(b *testing.B) {
		for range b.N {
			b.StopTimer()
			fill(b)
			b.StartTimer()
			rewrite(b, client)
		}
		perEntry(b)
	})
	for name, verify := range map[string]bool{"rekey": false, "rekey-verify": true} {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				fill(b)
				runtime.GC()
				b.StartTimer()
				r, err := rekey.Walk(b.Context(), rekey.Config{
					Store: store.New(backend), Ring: ring(b, fresh, old), Reseal: true, Verify: verify,
					Tenant: func(string) (string, bool) { return "default", true },
				})
				if err != nil || int(r.Resealed) < n {
					b.Fatalf("%+v, %v", r, err)
				}
			}
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			b.ReportMetric(float64(m.Sys)/(1<<20), "MiB-sys")
			perEntry(b)
		})
	}
}

// rewrite reads and writes every key as a program would that has go-redis and
// no more: SCAN, MGET and pipelines of SET, a thousand keys at a time.
func rewrite(b *testing.B, client *redis.Client) {
	ctx := context.Background()
	for cursor := uint64(0); ; {
		keys, next, err := client.Scan(ctx, cursor, "*", 1000).Result()
		if err != nil {
			b.Fatal(err)
		}
		values, err := client.MGet(ctx, keys...).Result()
		if err != nil {
			b.Fatal(err)
		}
		pipe := client.Pipeline()
		for i, v := range values {
			pipe.Set(ctx, keys[i], v, redis.KeepTTL)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			b.Fatal(err)
		}
		if cursor = next; cursor == 0 {
			return
		}
	}
}
