package rekey_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/internal/beside"
	"github.com/cachekit-io/cachekit-go/internal/rekey"
	"github.com/cachekit-io/cachekit-go/internal/store"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
	"github.com/cachekit-io/cachekit-go/keys"
)

// BenchmarkRedis re-seals entries of 1 KiB on a local Redis, beside a bare
// pipeline that reads and rewrites the same entries, in turns. REKEY_ENTRIES
// sets their number; the figures in docs/keytool.md are of 1,000,000.
func BenchmarkRedis(b *testing.B) {
	f := newBench(b)
	runs := []struct {
		name string
		run  func()
		cost []cost
	}{
		{name: "bare", run: func() { rewrite(b, f.client) }},
		{name: "rekey", run: func() { f.walk(b, false) }},
		{name: "verified", run: func() { f.walk(b, true) }},
	}
	for b.Loop() {
		for i := range runs {
			f.fill(b)
			runtime.GC()
			runs[i].cost = append(runs[i].cost, f.measure(runs[i].run))
		}
	}
	b.ReportMetric(0, "ns/op")
	bare := median(runs[0].cost)
	for _, r := range runs {
		m := median(r.cost)
		b.ReportMetric(m.wall/float64(f.n), r.name+"-ns/entry")
		b.ReportMetric(m.own/float64(f.n), r.name+"-own-cpu-ns/entry")
		b.ReportMetric(m.server/float64(f.n), r.name+"-server-cpu-ns/entry")
		b.ReportMetric(m.wall/bare.wall, r.name+"-ratio")
	}
	b.ReportMetric(f.peak, "MiB-heap-peak")
}

type bench struct {
	n          int
	client     *redis.Client
	backend    *redisbackend.Backend
	old, fresh keys.MasterKey
	doc        []byte
	peak       float64
}

func newBench(b *testing.B) *bench {
	f := &bench{n: 20_000, old: masterKey(b, "a"), fresh: masterKey(b, "b"), doc: make([]byte, 1024)}
	if text := os.Getenv("REKEY_ENTRIES"); text != "" {
		var err error
		if f.n, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	rand.Read(f.doc)
	server := testenv.Redis(b, nil)
	opts, err := redis.ParseURL(server.URL())
	if err != nil {
		b.Fatal(err)
	}
	f.client = redis.NewClient(opts)
	b.Cleanup(func() { f.client.Close() })
	if f.backend, err = redisbackend.Open(b.Context(), server.URL(), nil); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.backend.Close() })
	return f
}

func (f *bench) fill(b *testing.B) {
	from := box(b, "default", f.old)
	pipe := f.client.Pipeline()
	for i := range f.n {
		key := fmt.Sprint("bench:", i)
		pipe.Set(b.Context(), key, from.Seal(time.Now(), key, f.doc).Bytes(), time.Hour)
		if i%1000 == 999 || i == f.n-1 {
			if _, err := pipe.Exec(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func (f *bench) walk(b *testing.B, verify bool) {
	r, err := rekey.Walk(b.Context(), rekey.Config{
		Store: store.New(f.backend), Ring: ring(b, f.fresh, f.old), Reseal: true, Verify: verify,
		Tenant: func(string) (string, bool) { return "default", true },
		Progress: func(rekey.Report) {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			f.peak = max(f.peak, float64(m.HeapInuse)/(1<<20))
		},
	})
	if err != nil || int(r.Resealed) < f.n {
		b.Fatalf("%+v, %v", r, err)
	}
}

// cost is what a run took, in nanoseconds: by the clock, and of the processor in
// this process and in the server.
type cost struct{ wall, own, server float64 }

func (f *bench) measure(run func()) cost {
	start, own, server := time.Now(), beside.CPUTime(), f.serverCPU()
	run()
	return cost{float64(time.Since(start)), float64(beside.CPUTime() - own), f.serverCPU() - server}
}

func (f *bench) serverCPU() (ns float64) {
	for line := range strings.SplitSeq(f.client.Info(context.Background(), "cpu").Val(), "\r\n") {
		if name, value, _ := strings.Cut(line, ":"); name == "used_cpu_sys" || name == "used_cpu_user" {
			seconds, _ := strconv.ParseFloat(value, 64)
			ns += seconds * 1e9
		}
	}
	return ns
}

func median(costs []cost) cost {
	s := slices.SortedFunc(slices.Values(costs), func(x, y cost) int { return cmp.Compare(x.wall, y.wall) })
	return s[len(s)/2]
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
