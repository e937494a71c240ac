package memcachedbackend_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/memcachedbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// quick runs f with a context that ends after 30 ms by deadline or cancel, and
// fails unless one of three tries returns the context's error within 100 ms.
func quick(t *testing.T, cancelled bool, f func(context.Context) error) {
	t.Helper()
	var took time.Duration
	for range 3 {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
		want := context.DeadlineExceeded
		if cancelled {
			cancel()
			ctx, cancel = context.WithCancel(context.Background())
			time.AfterFunc(30*time.Millisecond, cancel)
			want = context.Canceled
		}
		start := time.Now()
		err := f(ctx)
		took = time.Since(start) - 30*time.Millisecond
		cancel()
		if !errors.Is(err, want) {
			t.Errorf("error = %v, want %v", err, want)
			return
		}
		if took < 100*time.Millisecond {
			return
		}
	}
	t.Errorf("returned %v after the end of the context", took)
}

// through opens a backend whose connections pass through a proxy each, by the
// name that a direct one uses too.
func through(t testing.TB, opts memcachedbackend.Options, s ...*testenv.MemcachedServer) (*memcachedbackend.Backend, proxies) {
	t.Helper()
	network := proxies{}
	for _, server := range s {
		network[server.Addr()] = testenv.Proxy(t, server.Addr())
	}
	opts.DialContext = network.dial
	if opts.Timeout == 0 {
		opts.Timeout = patient
	}
	return open(t, servers(s).list(), &opts), network
}

// Rule: a write that was abandoned in a network that takes nothing never lands,
// small or larger than what the kernel buffers, in clear or over TLS.
func TestAbandonedWriteNeverLandsLater(t *testing.T) {
	for _, secure := range []bool{false, true} {
		s := testenv.Memcached(t, &testenv.MemcachedOptions{TLS: secure, Args: []string{"-I", "16m"}})
		opts := memcachedbackend.Options{MaxValueBytes: 9 << 20, Timeout: patient}
		if secure {
			opts.TLS = trust(s)
		}
		for _, cancelled := range []bool{false, true} {
			for _, size := range []int{10, 8 << 20} {
				t.Run(fmt.Sprintf("tls=%v/cancel=%v/%d", secure, cancelled, size), func(t *testing.T) {
					b, network := through(t, opts, s)
					other := open(t, s.Addr(), &opts)
					set(t, b, "k", "before")
					network.each((*testenv.FaultProxy).Stall)()
					quick(t, cancelled, func(ctx context.Context) error { return b.Set(ctx, "k", make([]byte, size), time.Minute) })
					quick(t, cancelled, func(ctx context.Context) error { _, err := b.Delete(ctx, "k"); return err })
					set(t, other, "k", "newer")
					network.each((*testenv.FaultProxy).Resume)()
					settle(t, network[s.Addr()])
					want(t, other, "k", "newer")
					want(t, b, "k", "newer")
				})
			}
		}
	}
}

// settle waits until the proxy has delivered what it held back.
func settle(t *testing.T, p *testenv.FaultProxy) {
	t.Helper()
	last := -1
	testenv.Poll(t, 5*time.Second, "the held bytes to pass", func() bool {
		n := len(p.Received())
		same := n == last
		last = n
		return same
	})
}

// Rule: a server process that stands still holds up nobody beyond the end of
// his context, and all goes on when it does.
func TestStoppedServer(t *testing.T) {
	s := testenv.Memcached(t, nil)
	b := open(t, s.Addr(), nil)
	set(t, b, "k", "v")
	s.Process().Pause()
	for name, call := range operations {
		for _, cancelled := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/cancel=%v", name, cancelled), func(t *testing.T) {
				quick(t, cancelled, func(ctx context.Context) error { return call(ctx, b, "other") })
			})
		}
	}
	s.Process().Resume()
	want(t, b, "k", "v")
}

// Rule: a newer write by the same Backend wins over one that it abandoned, also
// if the server process stood still and has both in its sockets.
func TestNewerWriteOfTheSameBackendWins(t *testing.T) {
	s := testenv.Memcached(t, nil)
	b := open(t, s.Addr(), nil)
	one := func(key, value string) []backends.Item {
		return []backends.Item{{Key: key, Value: []byte(value), TTL: time.Minute}}
	}
	for i := range 40 {
		key := fmt.Sprint("k", i)
		set(t, b, key, "before")
		s.Process().Pause()
		quick(t, i%2 == 0, func(ctx context.Context) error {
			if i%4 < 2 {
				return b.Set(ctx, key, []byte("old"), time.Minute)
			}
			return b.SetMany(ctx, one(key, "old"))[0]
		})
		newer := make(chan error, 1)
		go func() {
			if i%8 < 4 {
				newer <- b.Set(context.Background(), key, []byte("newer"), time.Minute)
			} else {
				newer <- b.SetMany(context.Background(), one(key, "newer"))[0]
			}
		}()
		time.Sleep(10 * time.Millisecond) // nothing tells that a write is on its way; if it is late, the case is easier
		s.Process().Resume()
		if err := <-newer; err != nil {
			t.Fatal(err)
		}
		want(t, b, key, "newer")
	}
	for i := range 40 {
		want(t, b, fmt.Sprint("k", i), "newer")
	}
}

// Rule: an abandoned connection is closed and serves nobody else; the next call
// gets its own answer.
func TestCancelFreesTheConnection(t *testing.T) {
	s := testenv.Memcached(t, nil)
	b, network := through(t, memcachedbackend.Options{Timeout: 30 * time.Second}, s)
	p := network[s.Addr()]
	set(t, b, "a", "value of a")
	set(t, b, "b", "value of b")
	p.StallReplies()
	for range 3 {
		quick(t, true, func(ctx context.Context) error { _, err := b.Get(ctx, "a"); return err })
	}
	p.Resume()
	want(t, b, "b", "value of b")
	testenv.Poll(t, 10*time.Second, "abandoned connections to be closed", func() bool { return p.Conns() == 1 })
}

// Rule: without a context that can end, Options.Timeout bounds a call.
func TestTimeout(t *testing.T) {
	s := testenv.Memcached(t, nil)
	b, network := through(t, memcachedbackend.Options{Timeout: 300 * time.Millisecond}, s)
	set(t, b, "k", "v")
	network.each((*testenv.FaultProxy).Stall)()
	for _, ctx := range []context.Context{context.Background(), t.Context()} {
		start := time.Now()
		_, err := b.Get(ctx, "k")
		if got := kindOf(t, err); got != "timeout" {
			t.Errorf("Get = %v, want a timeout", err)
		}
		if took := time.Since(start); took < 300*time.Millisecond || took > 5*time.Second {
			t.Errorf("Get took %v", took)
		}
	}
}
