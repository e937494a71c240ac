package redisbackend_test

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/backendtest"
	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

func TestConformance(t *testing.T) {
	server := testenv.Redis(t, nil)
	openAt := func(tb testing.TB, addr string) backends.Backend {
		tb.Helper()
		b, err := redisbackend.Open(context.Background(), server.URLAt(addr), nil)
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { b.Close() })
		return b
	}
	raw := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { raw.Close() })
	backendtest.Run(t, backendtest.Harness{
		Want:    []string{"Batcher", "EntryReader", "TTLer", "Locker", "Scanner", "Swapper"},
		Without: map[string]string{"Kill": "all cases share one server; a server that is gone is in network_test.go"},
		Open: func(tb testing.TB) backendtest.Subject {
			server.Do("FLUSHALL")
			proxy := testenv.Proxy(tb, server.Addr())
			return backendtest.Subject{
				Backend: openAt(tb, proxy.Addr()),
				Other:   func(tb testing.TB) backends.Backend { return openAt(tb, server.Addr()) },
				Stall:   proxy.Stall,
				Resume:  proxy.Resume,
				Raw: func(tb testing.TB, key string) []byte {
					b, err := raw.Get(context.Background(), key).Bytes()
					if err != nil && err != redis.Nil {
						tb.Fatal(err)
					}
					return b
				},
			}
		},
	})
}
