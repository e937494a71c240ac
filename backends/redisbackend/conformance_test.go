package redisbackend_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/backendtest"
	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

var capabilities = []string{"Batcher", "BatchReader", "EntryReader", "TTLer", "Locker", "BatchLocker", "Scanner", "Swapper", "BatchSwapper", "Rewriter", "Replacer", "Watcher"}

const password = "correct:horse/battery@staple"

func (n network) subject(b backends.Backend, other func(testing.TB) backends.Backend, nodes ...*testenv.RedisServer) backendtest.Subject {
	return backendtest.Subject{
		Backend: b,
		Other:   other,
		Stall:   n.each((*testenv.FaultProxy).Stall),
		Resume:  n.each((*testenv.FaultProxy).Resume),
		Kill:    n.each((*testenv.FaultProxy).Kill),
		Raw:     raw(nodes...),
		Secrets: []string{password, "correct", "staple"},
	}
}

func TestConformanceOpen(t *testing.T) {
	t.Parallel() // it waits more than it works
	s := testenv.Redis(t, &testenv.RedisOptions{Password: password})
	backendtest.Run(t, backendtest.Harness{Want: capabilities, Open: func(tb testing.TB) backendtest.Subject {
		s.Do("FLUSHALL")
		n := proxies(tb, s)
		b := openQuietly(tb, s.URLAt(n[s.Addr()].Addr()))
		return n.subject(b, func(tb testing.TB) backends.Backend { return openQuietly(tb, s.URL()) }, s)
	}})
}

func TestConformanceNew(t *testing.T) {
	t.Parallel() // it waits more than it works
	s := testenv.Redis(t, &testenv.RedisOptions{Password: password})
	backendtest.Run(t, backendtest.Harness{Want: capabilities, Open: func(tb testing.TB) backendtest.Subject {
		s.Do("FLUSHALL")
		n := proxies(tb, s)
		opts := usable(s.Addr())
		opts.Password, opts.Dialer, opts.DialerRetries = password, n.dial, 1
		b := over(tb, redis.NewClient(opts))
		return n.subject(b, func(tb testing.TB) backends.Backend { return openQuietly(tb, s.URL()) }, s)
	}})
}

func TestConformanceCluster(t *testing.T) {
	t.Parallel() // it waits more than it works
	c := testenv.RedisCluster(t, 0)
	backendtest.Run(t, backendtest.Harness{Want: capabilities, Open: func(tb testing.TB) backendtest.Subject {
		for _, m := range c.Masters {
			m.Do("FLUSHALL")
		}
		n := proxies(tb, c.Masters...)
		b := over(tb, redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs(), ContextTimeoutEnabled: true, Dialer: n.dial, DialerRetries: 1}))
		return n.subject(b, func(tb testing.TB) backends.Backend { return openQuietly(tb, c.URL()) }, c.Masters...)
	}})
}

func TestConformanceSentinel(t *testing.T) {
	t.Parallel() // it waits more than it works
	s := testenv.RedisSentinel(t)
	options := func() *redis.FailoverOptions {
		return &redis.FailoverOptions{MasterName: s.Name, SentinelAddrs: s.Addrs(), ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1}
	}
	backendtest.Run(t, backendtest.Harness{Want: capabilities, Open: func(tb testing.TB) backendtest.Subject {
		master := s.Master()
		master.Do("FLUSHALL")
		n := proxies(tb, master)
		opts := options()
		opts.Dialer = n.dial
		b := over(tb, redis.NewFailoverClient(opts))
		return n.subject(b, func(tb testing.TB) backends.Backend { return over(tb, redis.NewFailoverClient(options())) }, master)
	}})
}

// openQuietly is open for a backend that the suite itself may close.
func openQuietly(tb testing.TB, url string) *redisbackend.Backend {
	tb.Helper()
	b, err := redisbackend.Open(tb.Context(), url, nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = b.Close() })
	return b
}

func over(tb testing.TB, client redis.UniversalClient) *redisbackend.Backend {
	tb.Helper()
	tb.Cleanup(func() { _ = client.Close() })
	b, err := redisbackend.New(client, nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = b.Close() })
	return b
}

func raw(nodes ...*testenv.RedisServer) func(testing.TB, string) []byte {
	return func(tb testing.TB, key string) []byte {
		tb.Helper()
		for _, n := range nodes {
			if v, ok := n.Try("GET", key); ok && v != nil {
				return []byte(v.(string))
			}
		}
		return nil
	}
}
