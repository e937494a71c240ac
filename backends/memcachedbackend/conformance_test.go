package memcachedbackend_test

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/backendtest"
	"github.com/cachekit-io/cachekit-go/backends/memcachedbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// patient allows for a machine that is busy with other tests.
const patient = 10 * time.Second

var all = []string{"Batcher", "EntryReader", "TTLer", "Locker", "Swapper", "Replacer", "KeyRuler"}

// servers are memcacheds that share keys out.
type servers []*testenv.MemcachedServer

func start(t testing.TB, n int, opts *testenv.MemcachedOptions) servers {
	t.Helper()
	s := make(servers, n)
	for i := range s {
		s[i] = testenv.Memcached(t, opts)
	}
	return s
}

func (s servers) list() string {
	names := make([]string, len(s))
	for i := range s {
		names[i] = s[i].Addr()
	}
	return strings.Join(names, ",")
}

// subject opens a fresh storage through proxies, which change addresses below
// the backend so that keys live where Other looks for them.
func (s servers) subject(tb testing.TB, opts memcachedbackend.Options, open func(testing.TB, memcachedbackend.Options) backends.Backend) backendtest.Subject {
	network := proxies{}
	for _, server := range s {
		server.Do("flush_all")
		network[server.Addr()] = testenv.Proxy(tb, server.Addr())
	}
	opts.Timeout = patient
	direct := opts
	opts.DialContext = network.dial
	return backendtest.Subject{
		Backend: open(tb, opts),
		Other:   func(tb testing.TB) backends.Backend { return open(tb, direct) },
		Stall:   network.each((*testenv.FaultProxy).Stall),
		Resume:  network.each((*testenv.FaultProxy).Resume),
		Kill:    network.each((*testenv.FaultProxy).Kill),
		Raw:     s.raw,
	}
}

// raw reads a value with a client of its own.
func (s servers) raw(tb testing.TB, key string) []byte {
	tb.Helper()
	for _, server := range s {
		head, rest, ok := strings.Cut(server.Do("get "+key), "\r\n")
		if !ok || head == "END" {
			continue
		}
		if fields := strings.Fields(head); len(fields) != 4 || fields[2] != "0" {
			tb.Fatalf("memcached answered %q: want flags 0, as the family stores", head)
		}
		return []byte(strings.TrimSuffix(rest, "\r\nEND\r\n"))
	}
	return nil
}

func openList(list string) func(testing.TB, memcachedbackend.Options) backends.Backend {
	return func(tb testing.TB, opts memcachedbackend.Options) backends.Backend {
		tb.Helper()
		b, err := memcachedbackend.Open(tb.Context(), list, &opts)
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { _ = b.Close() })
		return b
	}
}

func harness(want []string, max int, open func(tb testing.TB) backendtest.Subject) backendtest.Harness {
	return backendtest.Harness{
		Want: want, Open: open, MaxValue: max, MaxTTL: 30 * 24 * time.Hour,
		Granularity: 2 * time.Second, // a part of a second, and a tick of the clock
	}
}

func TestConformanceOpen(t *testing.T) {
	t.Parallel() // most of it waits for TTLs
	s := start(t, 2, &testenv.MemcachedOptions{Args: []string{"-I", "2m"}})
	backendtest.Run(t, harness(all, 1<<20, func(tb testing.TB) backendtest.Subject {
		return s.subject(tb, memcachedbackend.Options{}, openList(s.list()))
	}))
}

func TestConformanceTLS(t *testing.T) {
	t.Parallel()
	s := start(t, 1, &testenv.MemcachedOptions{TLS: true, Args: []string{"-I", "16m"}})
	backendtest.Run(t, harness(all, 9<<20, func(tb testing.TB) backendtest.Subject {
		return s.subject(tb, memcachedbackend.Options{TLS: trust(s[0]), MaxValueBytes: 9 << 20}, openList(s.list()))
	}))
}

func trust(s *testenv.MemcachedServer) *tls.Config {
	config := s.TLSConfig()
	config.ServerName = "" // the backend takes it from the address
	return config
}

func TestConformanceNewClassic(t *testing.T) {
	t.Parallel()
	s := start(t, 2, &testenv.MemcachedOptions{Args: []string{"-I", "2m"}})
	backendtest.Run(t, harness([]string{"Batcher", "Locker", "Replacer", "KeyRuler"}, 1<<20, func(tb testing.TB) backendtest.Subject {
		return s.subject(tb, memcachedbackend.Options{ClassicProtocol: true}, func(tb testing.TB, opts memcachedbackend.Options) backends.Backend {
			list := new(memcache.ServerList)
			if err := list.SetServers(s[0].Addr(), s[1].Addr()); err != nil {
				tb.Fatal(err)
			}
			b, err := memcachedbackend.New(list, &opts)
			if err != nil {
				tb.Fatal(err)
			}
			tb.Cleanup(func() { _ = b.Close() })
			return b
		})
	}))
}
