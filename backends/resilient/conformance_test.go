package resilient_test

import (
	"os"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/backendtest"
	"github.com/cachekit-io/cachekit-go/backends/filebackend"
	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/backends/resilient"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

func TestConformanceOverFiles(t *testing.T) {
	t.Parallel() // it waits more than it works
	open := func(tb testing.TB, dir string) backends.Backend {
		inner, err := filebackend.Open(dir, nil)
		if err != nil {
			tb.Fatal(err)
		}
		b := wrap(tb, inner, nil)
		tb.Cleanup(func() { _ = b.Close() })
		return b
	}
	backendtest.Run(t, backendtest.Harness{
		Want:        []string{"Batcher", "EntryReader", "TTLer", "Locker", "Swapper", "Replacer"},
		Granularity: time.Second,
		Without: map[string]string{
			"Stall": "no server; over Redis there is one",
			"Kill":  "no server; over Redis there is one",
			"Raw":   "the wrapper changes no bytes; filebackend's own run looks at them",
		},
		Open: func(tb testing.TB) backendtest.Subject {
			dir, err := os.MkdirTemp("", "resilient-")
			if err != nil {
				tb.Fatal(err)
			}
			tb.Cleanup(func() { os.RemoveAll(dir) })
			return backendtest.Subject{
				Backend: open(tb, dir),
				Other:   func(tb testing.TB) backends.Backend { return open(tb, dir) },
			}
		},
	})
}

func TestConformanceOverRedis(t *testing.T) {
	t.Parallel() // it waits more than it works
	const password = "correct:horse/battery@staple"
	s := testenv.Redis(t, &testenv.RedisOptions{Password: password})
	backendtest.Run(t, backendtest.Harness{
		Want: []string{"Batcher", "BatchReader", "EntryReader", "TTLer", "Locker", "BatchLocker", "Scanner", "Swapper", "BatchSwapper", "Rewriter", "Replacer", "Watcher"},
		Open: func(tb testing.TB) backendtest.Subject {
			s.Do("FLUSHALL")
			p := testenv.Proxy(tb, s.Addr())
			return backendtest.Subject{
				Backend: overRedis(tb, s.URLAt(p.Addr()), nil, nil),
				Other:   func(tb testing.TB) backends.Backend { return overRedis(tb, s.URL(), nil, nil) },
				Stall:   p.Stall, Resume: p.Resume, Kill: p.Kill,
				Raw: func(_ testing.TB, key string) []byte {
					if v, ok := s.Try("GET", key); ok && v != nil {
						return []byte(v.(string))
					}
					return nil
				},
				Secrets: []string{password, "correct", "staple"},
			}
		},
	})
}

// overRedis opens a server that is up. Its first answer may take a busy machine
// longer than the limit of the test, which is for what comes after.
func overRedis(tb testing.TB, url string, redis *redisbackend.Options, opts *resilient.Options) *resilient.Backend {
	tb.Helper()
	inner, err := redisbackend.Open(tb.Context(), url, redis)
	for late := time.Now().Add(20 * time.Second); backends.IsOutage(err) && time.Now().Before(late); {
		time.Sleep(10 * time.Millisecond)
		inner, err = redisbackend.Open(tb.Context(), url, redis)
	}
	if err != nil {
		tb.Fatal(err)
	}
	b := wrap(tb, inner, opts)
	tb.Cleanup(func() { _ = b.Close() })
	return b
}
