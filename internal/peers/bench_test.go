package peers_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/beside"
	"github.com/cachekit-io/cachekit-go/internal/peers"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
	"github.com/cachekit-io/cachekit-go/secure"
)

// BenchmarkPython measures the Python SDK and ours by turns. Each iteration takes a
// second; the ratio, above 1 if ours is faster, is the median over them.
func BenchmarkPython(b *testing.B) { compare(b, peers.MeasurePython) }

func compare(b *testing.B, measure func(testing.TB, string, string, time.Duration, ...string) []peers.Figures) {
	redis, theirs, ours := testenv.Redis(b, nil), cacheDir(b), cacheDir(b)
	for _, name := range peers.Measurements() {
		b.Run(name, func(b *testing.B) {
			call := own(b, name, redis.URL(), ours)
			var peer, we, ratio []float64
			for b.Loop() {
				p := measure(b, redis.URL(), theirs, time.Second/2, name)[0].NsPerOp
				w := nsPerOp(b, strings.HasSuffix(name, "16"), time.Second/2, call)
				peer, we, ratio = append(peer, p), append(we, w), append(ratio, p/w)
			}
			b.ReportMetric(0, "ns/op")
			for unit, all := range map[string][]float64{"peer-ns": peer, "ours-ns": we, "ratio": ratio} {
				b.ReportMetric(beside.Median(all), unit)
			}
		})
	}
}

type row struct {
	ID   int64  `msgpack:"id"`
	Name string `msgpack:"name"`
	Body []byte `msgpack:"body"`
}

// own returns what the measurement name is of ours, under the secure profile.
func own(b *testing.B, name, url, dir string) func(i int) error {
	b.Helper()
	ctx := context.Background()
	var backend backends.Backend
	if strings.HasPrefix(name, "File") {
		backend = openFiles(b, dir)
	} else {
		backend = openRedis(b, url)
	}
	c, err := secure.New(ctx, &secure.Options{Backend: backend, Keyring: keyring{0}.ring(b), NoL1: name != "L1Hit"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	keys, rows := make([]string, 500), make([]row, 500)
	for i := range keys {
		rows[i] = row{int64(i), fmt.Sprint("item ", i), make([]byte, 1024)}
		rand.Read(rows[i].Body)
		keys[i] = fmt.Sprint("peer:go:", i)
		if err := c.Set(ctx, keys[i], rows[i]); err != nil {
			b.Fatal(err)
		}
	}
	v := secure.For[row](c)
	var reused row
	switch strings.TrimSuffix(name, "16") {
	case "L1Hit":
		return func(i int) error { return hit(c.Get(ctx, keys[i%500], &reused)) }
	case "RedisGet", "FileGet":
		return func(i int) error { var out row; return hit(c.Get(ctx, keys[i%64], &out)) }
	case "RedisSet", "FileSet":
		return func(i int) error { return c.Set(ctx, keys[i%64], &rows[1]) }
	case "RedisGet100":
		return func(int) error { got, err := v.GetMany(ctx, keys[:100]); return hit(len(got) == 100, err) }
	}
	b.Fatalf("no measurement %s", name)
	return nil
}

func hit(found bool, err error) error {
	if err == nil && !found {
		err = fmt.Errorf("a get missed")
	}
	return err
}

// nsPerOp calls f for d, by one caller or 16, with a look at the clock every 16
// calls.
func nsPerOp(b *testing.B, many bool, d time.Duration, f func(i int) error) float64 {
	callers := 1
	if many {
		callers = 16
	}
	var calls atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for caller := range callers {
		wg.Go(func() {
			for n := 0; ; n++ {
				if err := f(caller*7 + n); err != nil {
					b.Error(err)
					return
				}
				if n%16 == 15 && time.Since(start) >= d {
					calls.Add(int64(n + 1))
					return
				}
			}
		})
	}
	wg.Wait()
	return float64(time.Since(start)) / float64(calls.Load())
}
