package redisbackend_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
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

type stall struct {
	name          string
	stall, resume func(*testenv.RedisServer, *testenv.FaultProxy)
}

var stalls = []stall{
	{"black hole", func(_ *testenv.RedisServer, p *testenv.FaultProxy) { p.Stall() }, func(_ *testenv.RedisServer, p *testenv.FaultProxy) { p.Resume() }},
	{"stopped server", func(s *testenv.RedisServer, _ *testenv.FaultProxy) { s.Pause() }, func(s *testenv.RedisServer, _ *testenv.FaultProxy) { s.Resume() }},
}

// Rule: an abandoned write never lands over a newer one, whoever wrote it.
func TestAbandonedWriteNeverLandsLater(t *testing.T) {
	for _, st := range stalls {
		for _, cancelled := range []bool{false, true} {
			for _, size := range []int{10, 8 << 20} {
				t.Run(fmt.Sprintf("%s/cancel=%v/%d", st.name, cancelled, size), func(t *testing.T) {
					s := testenv.Redis(t, nil)
					p := testenv.Proxy(t, s.Addr())
					b := open(t, s.URLAt(p.Addr()), nil)
					other := open(t, s.URL(), nil)
					set(t, b, "k", "before")
					st.stall(s, p)
					quick(t, cancelled, func(ctx context.Context) error { return b.Set(ctx, "k", make([]byte, size), time.Minute) })
					quick(t, cancelled, func(ctx context.Context) error { _, err := b.Delete(ctx, "k"); return err })
					newer := make(chan error, 1)
					go func() { newer <- other.Set(context.Background(), "k", []byte("newer"), time.Minute) }()
					if st.name == "black hole" {
						if err := <-newer; err != nil {
							t.Fatal(err)
						}
					} else {
						waitQueued(t)
					}
					st.resume(s, p)
					if st.name != "black hole" {
						if err := <-newer; err != nil {
							t.Fatal(err)
						}
					}
					settle(t, p)
					want(t, other, "k", "newer")
					want(t, b, "k", "newer")
				})
			}
		}
	}
}

// waitQueued gives the newer write time to reach the stopped server's socket;
// nothing observable tells that it has. If it is late, the case is easier.
func waitQueued(t *testing.T) {
	t.Helper()
	<-time.After(50 * time.Millisecond)
}

// warm makes the pool hold several idle connections.
func warm(t *testing.T, b *redisbackend.Backend) {
	t.Helper()
	testenv.Poll(t, 10*time.Second, "several idle connections", func() bool {
		var calls sync.WaitGroup
		for range 8 {
			calls.Go(func() { _ = b.Set(context.Background(), "warm", nil, time.Minute) })
		}
		calls.Wait()
		n, err := strconv.Atoi(b.Health(t.Context()).Details["connections"])
		return err == nil && n >= 4
	})
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

// Rule: the same Backend's newer write wins even if the server reads with
// several threads, which executes what was queued in reverse.
func TestNewerWriteOfTheSameBackendWinsWithThreadedReads(t *testing.T) {
	s := testenv.Redis(t, &testenv.RedisOptions{Config: []string{"io-threads 2", "io-threads-do-reads yes"}})
	load(t, s)
	b := open(t, s.URL(), nil)
	for i := range 20 {
		key := fmt.Sprintf("k%d", i)
		warm(t, b)
		s.Pause()
		quick(t, true, func(ctx context.Context) error { return b.Set(ctx, key, []byte("old"), time.Minute) })
		done := make(chan error, 1)
		go func() { done <- b.Set(context.Background(), key, []byte("newer"), time.Minute) }()
		waitQueued(t)
		s.Resume()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		want(t, b, key, "newer")
	}
}

// Rule: an abandoned connection is closed and serves nobody else; the next call
// gets its own answer.
func TestCancelFreesTheConnection(t *testing.T) {
	s := testenv.Redis(t, nil)
	p := testenv.Proxy(t, s.Addr())
	b := open(t, s.URLAt(p.Addr()), &redisbackend.Options{Timeout: 30 * time.Second})
	set(t, b, "a", "value of a")
	set(t, b, "b", "value of b")
	list := s.Do("CLIENT", "LIST").(string)
	before, _, ok := strings.Cut(list, " cmd=set ")
	abandoned := before[strings.LastIndex(before, "id="):]
	abandoned, _, _ = strings.Cut(abandoned, " ")
	if abandoned += " "; !ok {
		t.Fatalf("no connection has set anything:\n%s", list)
	}
	p.StallReplies()
	for range 3 {
		quick(t, true, func(ctx context.Context) error { _, err := b.Get(ctx, "a"); return err })
	}
	p.Resume()
	want(t, b, "b", "value of b")
	testenv.Poll(t, 10*time.Second, "the abandoned connection to be closed", func() bool { return !strings.Contains(s.Do("CLIENT", "LIST").(string), abandoned) })
}

// Rule: reads that travel together end with their own contexts, and go on when
// the server does.
func TestGatheredReadsAgainstAStall(t *testing.T) {
	for _, st := range stalls {
		t.Run(st.name, func(t *testing.T) {
			s := testenv.Redis(t, nil)
			p := testenv.Proxy(t, s.Addr())
			b := open(t, s.URLAt(p.Addr()), nil)
			set(t, b, "k", "v")
			readers := func(f func(context.Context) error) {
				var calls sync.WaitGroup
				for range 32 {
					calls.Go(func() {
						if err := f(context.Background()); err != nil {
							t.Error(err)
						}
					})
				}
				calls.Wait()
			}
			get := func(ctx context.Context) error { _, err := b.Get(ctx, "k"); return err }
			readers(get)
			st.stall(s, p)
			readers(func(ctx context.Context) error {
				ctx, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
				defer cancel()
				start := time.Now()
				// Far below the backend's own limit, and slack for 32 at once.
				if err := get(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > time.Second {
					return fmt.Errorf("after %v: %w", time.Since(start), err)
				}
				return nil
			})
			st.resume(s, p)
			testenv.Poll(t, 10*time.Second, "reads to work again", func() bool { return get(t.Context()) == nil })
			readers(get)
		})
	}
}
