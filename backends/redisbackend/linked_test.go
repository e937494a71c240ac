package redisbackend_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/backendtest"
	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// heard is a watch that writes down what it is told.
type heard struct {
	mu    sync.Mutex
	up    bool
	downs int
	keys  map[string]int
}

func (h *heard) event(f func()) { h.mu.Lock(); defer h.mu.Unlock(); f() }
func (h *heard) Up()            { h.event(func() { h.up = true }) }
func (h *heard) Down()          { h.event(func() { h.up = false; h.downs++ }) }
func (h *heard) Flush()         {}
func (h *heard) Changed(keys []string) {
	h.event(func() {
		for _, k := range keys {
			h.keys[k]++
		}
	})
}

func (h *heard) isUp() (up bool)          { h.event(func() { up = h.up }); return up }
func (h *heard) times(key string) (n int) { h.event(func() { n = h.keys[key] }); return n }

// owner is a backend whose writes are those of its own watch, as those of a cache
// with Options.Coherence are: its writes travel over the link.
type owner struct {
	*redisbackend.Backend
	*heard
}

func (o owner) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return o.Backend.Set(backends.WrittenBy(ctx, o.heard), key, value, ttl)
}

func (o owner) Delete(ctx context.Context, key string) (bool, error) {
	return o.Backend.Delete(backends.WrittenBy(ctx, o.heard), key)
}

// owning watches all keys of b, and waits until it is up.
func owning(t testing.TB, b *redisbackend.Backend) owner {
	t.Helper()
	h := &heard{keys: map[string]int{}}
	if _, err := b.Watch("", h); err != nil {
		t.Fatal(err)
	}
	up(t, h)
	return owner{b, h}
}

func up(t testing.TB, h *heard) {
	t.Helper()
	testenv.Poll(t, 20*time.Second, "the watch to be up", h.isUp)
}

func put(t testing.TB, o owner, key, value string) {
	t.Helper()
	if err := o.Set(t.Context(), key, []byte(value), time.Minute); err != nil {
		t.Fatalf("Set: %v", err)
	}
}

// inStep waits until h has heard of everything that was executed before.
func inStep(t testing.TB, h *heard, other *redisbackend.Backend) {
	t.Helper()
	const key = "in-step"
	n := h.times(key)
	set(t, other, key, "v")
	testenv.Poll(t, 20*time.Second, "a report", func() bool { return h.times(key) > n })
}

// Rule: a write over the link is a write: the suite holds for it too.
func TestConformanceLinked(t *testing.T) {
	t.Parallel() // it waits more than it works
	s := testenv.Redis(t, &testenv.RedisOptions{Password: password})
	backendtest.Run(t, backendtest.Harness{Want: capabilities, Open: func(tb testing.TB) backendtest.Subject {
		s.Do("FLUSHALL")
		n := proxies(tb, s)
		b := owning(tb, openQuietly(tb, s.URLAt(n[s.Addr()].Addr())+"?db=3"))
		subject := n.subject(b, func(tb testing.TB) backends.Backend { return openQuietly(tb, s.URL()+"?db=3") })
		subject.Raw = func(tb testing.TB, key string) []byte {
			v, err := openQuietly(tb, s.URL()+"?db=3").Get(tb.Context(), key)
			if err != nil {
				return nil
			}
			return v
		}
		return subject
	}})
}

// Rule: nor does a Cluster make a difference.
func TestConformanceLinkedCluster(t *testing.T) {
	t.Parallel() // it waits more than it works
	c := testenv.RedisCluster(t, 0)
	backendtest.Run(t, backendtest.Harness{Want: capabilities, Open: func(tb testing.TB) backendtest.Subject {
		for _, m := range c.Masters {
			m.Do("FLUSHALL")
		}
		n := proxies(tb, c.Masters...)
		client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs(), ContextTimeoutEnabled: true, Dialer: n.dial, DialerRetries: 1})
		return n.subject(owning(tb, over(tb, client)), func(tb testing.TB) backends.Backend { return openQuietly(tb, c.URL()) }, c.Masters...)
	}})
}

// Rule: the watch whose write it is does not hear of it, all others do, those of
// the same backend too; a write that is nobody's is reported to all.
func TestWhoHearsOfAWrite(t *testing.T) {
	s := testenv.Redis(t, nil)
	mine, other := owning(t, open(t, s.URL(), nil)), owning(t, open(t, s.URL(), nil))
	beside := owning(t, mine.Backend)
	for name, write := range map[string]func(key string) error{
		"Set":    func(key string) error { return mine.Set(t.Context(), key, []byte("v"), time.Minute) },
		"Delete": func(key string) error { _, err := mine.Delete(t.Context(), key); return err },
	} {
		key := "k." + name
		if name == "Delete" {
			put(t, mine, key, "v")
		}
		own, there, near := mine.times(key), other.times(key), beside.times(key)
		if err := write(key); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(tracking(s), "cmd="+map[string]string{"Set": "set", "Delete": "unlink"}[name]) {
			t.Errorf("%s did not travel over the link:\n%s", name, tracking(s))
		}
		inStep(t, mine.heard, other.Backend)
		inStep(t, other.heard, other.Backend)
		if mine.times(key) != own || other.times(key) == there || beside.times(key) == near {
			t.Errorf("%s was reported to its writer %d, to another backend %d, to another watch %d times, want 0 and more",
				name, mine.times(key)-own, other.times(key)-there, beside.times(key)-near)
		}
	}
	set(t, mine.Backend, "nobody's", "v")
	for _, h := range []*heard{mine.heard, other.heard, beside.heard} {
		testenv.Poll(t, 20*time.Second, "a report to every watch", func() bool { return h.times("nobody's") > 0 })
	}
}

// tracking are the lines of CLIENT LIST about connections that track.
func tracking(s *testenv.RedisServer) string {
	var lines []string
	for line := range strings.Lines(fmt.Sprint(s.Do("CLIENT", "LIST"))) {
		if _, flags, _ := strings.Cut(line, " flags="); strings.HasPrefix(flags, "t") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// Rule: if somebody else is the last to write a key in one turn of the server's
// event loop, that is reported, although this backend wrote it in the same turn.
func TestWritesOfOneTurn(t *testing.T) {
	s := testenv.Redis(t, nil)
	mine, other := owning(t, open(t, s.URL(), nil)), open(t, s.URL(), nil)
	const most, enough = 400, 10
	counts := map[string]int{}
	seen := func() bool {
		return counts["other last, reported true"] >= enough && counts["mine last, reported false"] >= enough
	}
	for i := 0; i < most && (i < 4*enough || !seen()); i++ {
		key := fmt.Sprint("k", i)
		s.Pause()
		var calls sync.WaitGroup
		first, second := func() error { return mine.Set(t.Context(), key, []byte("mine"), time.Minute) },
			func() error { return other.Set(t.Context(), key, []byte("other"), time.Minute) }
		if i%2 == 1 {
			first, second = second, first
		}
		for _, write := range []func() error{first, second} {
			calls.Go(func() {
				if err := write(); err != nil {
					t.Error(err)
				}
			})
			waitQueued(t)
		}
		s.Resume()
		calls.Wait()
		inStep(t, mine.heard, other)
		v, err := other.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		reported := mine.times(key) > 0
		if string(v) == "other" && !reported {
			t.Fatalf("the other's write was the last one, and is not reported")
		}
		counts[fmt.Sprintf("%s last, reported %v", v, reported)]++
	}
	t.Log(counts)
	if !seen() {
		t.Errorf("too few rounds had both writes in one turn: %v", counts)
	}
}

// Rule: a write over the link that is given up never lands over a newer one,
// whoever wrote it. (A write over the link is given up at most 64 KiB large.)
func TestAbandonedLinkWriteNeverLandsLater(t *testing.T) {
	for _, st := range stalls {
		for _, cancelled := range []bool{false, true} {
			for _, del := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/cancel=%v/delete=%v", st.name, cancelled, del), func(t *testing.T) {
					s := testenv.Redis(t, nil)
					p := testenv.Proxy(t, s.Addr())
					b, other := owning(t, open(t, s.URLAt(p.Addr()), nil)), open(t, s.URL(), nil)
					put(t, b, "k", "before")
					st.stall(s, p)
					sent := len(p.Sent())
					quick(t, cancelled, func(ctx context.Context) (err error) {
						if del {
							_, err = b.Delete(ctx, "k")
						} else {
							err = b.Set(ctx, "k", []byte("old"), time.Minute)
						}
						return err
					})
					if len(p.Sent()) == sent {
						t.Fatal("nothing was sent: this shows nothing")
					}
					newer := make(chan error, 1)
					go func() { newer <- other.Set(context.Background(), "k", []byte("newer"), time.Minute) }()
					if st.name == "black hole" {
						if err := <-newer; err != nil {
							t.Fatal(err)
						}
						newer <- nil
					} else {
						waitQueued(t)
					}
					st.resume(s, p)
					if err := <-newer; err != nil {
						t.Fatal(err)
					}
					settle(t, p)
					want(t, other, "k", "newer")
					up(t, b.heard)
					want(t, b.Backend, "k", "newer")
				})
			}
		}
	}
}

// Rule: the same holds for many writes at once, of which some wait for room.
func TestManyAbandonedLinkWrites(t *testing.T) {
	s := testenv.Redis(t, nil)
	p := testenv.Proxy(t, s.Addr())
	b, other := owning(t, open(t, s.URLAt(p.Addr()), nil)), open(t, s.URL(), nil)
	p.Stall()
	var calls sync.WaitGroup
	for range 60 {
		calls.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			defer cancel()
			start := time.Now()
			// Slack for 60 at once; far below the backend's own limit.
			if err := b.Set(ctx, "k", bytes.Repeat([]byte("old"), 20<<10), time.Minute); err == nil || time.Since(start) > time.Second {
				t.Errorf("after %v: %v", time.Since(start), err)
			}
		})
	}
	calls.Wait()
	set(t, other, "k", "newer")
	p.Resume()
	settle(t, p)
	want(t, other, "k", "newer")
	put(t, b, "k", "newest")
	want(t, other, "k", "newest")
}

// Rule: a write whose link dies before the answer has an unknown outcome, is sent
// once, and nobody waits longer for it than for signs of life.
func TestLinkWriteIsSentOnce(t *testing.T) {
	for name, fault := range map[string]func(*testenv.FaultProxy){
		"black hole": (*testenv.FaultProxy).StallReplies,
		"reset":      (*testenv.FaultProxy).ResetMidReply,
	} {
		s := testenv.Redis(t, nil)
		p := testenv.Proxy(t, s.Addr())
		b := owning(t, open(t, s.URLAt(p.Addr()), nil))
		fault(p)
		err := b.Set(context.Background(), "sent-once", []byte("v"), time.Minute)
		if !backends.IsOutage(err) {
			t.Errorf("%s: got %v, want an outage", name, err)
		}
		p.Resume()
		if n := strings.Count(string(p.Sent()), "sent-once"); n != 1 {
			t.Errorf("%s: the write was sent %d times", name, n)
		}
		up(t, b.heard)
		put(t, b, "sent-once", "newer")
		want(t, b.Backend, "sent-once", "newer")
	}
}

// Rule: Options.Timeout bounds a write over the link.
func TestLinkWriteTimeout(t *testing.T) {
	s := testenv.Redis(t, nil)
	b := owning(t, open(t, s.URL(), &redisbackend.Options{Timeout: 200 * time.Millisecond}))
	s.Pause()
	defer s.Resume()
	start := time.Now()
	err := b.Set(context.Background(), "k", []byte("v"), time.Minute)
	var e *backends.Error
	if !errors.As(err, &e) || e.Kind != backends.Timeout || time.Since(start) > 5*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
}

// Rule: a refusal is an error, and has a known outcome.
func TestLinkWriteRefused(t *testing.T) {
	s := testenv.Redis(t, nil)
	b := owning(t, open(t, s.URL(), nil))
	s.Do("CONFIG", "SET", "maxmemory", "1")
	err := b.Set(t.Context(), "k", []byte("v"), time.Minute)
	var e *backends.Error
	if !errors.As(err, &e) || e.Kind != backends.Overload {
		t.Errorf("got %v, want an overload", err)
	}
	s.Do("CONFIG", "SET", "maxmemory", "0")
	put(t, b, "k", "v")
	if !b.isUp() || b.downs > 0 {
		t.Error("a refusal has ended the link")
	}
}

// Rule: callers who share a link get their own answers, and none is lost when
// contexts end at random.
func TestLinkUnderConcurrency(t *testing.T) {
	s := testenv.Redis(t, nil)
	b := owning(t, open(t, s.URL(), nil))
	var calls sync.WaitGroup
	for g := range 32 {
		calls.Go(func() {
			key := fmt.Sprint("k", g)
			for i := range 200 {
				value := bytes.Repeat([]byte{byte(i)}, 1+i*g)
				put(t, b, key, string(value))
				if v, err := b.Get(t.Context(), key); err != nil || !bytes.Equal(v, value) {
					t.Errorf("read back %d bytes, %v; want %d", len(v), err, len(value))
					return
				}
				for _, exists := range []bool{true, false} {
					if existed, err := b.Delete(t.Context(), key); err != nil || existed != exists {
						t.Errorf("Delete = %v, %v, want %v", existed, err, exists)
						return
					}
				}
			}
		})
	}
	calls.Wait()
}

// Rule: a write that reaches a node which no longer has the slot is made where
// the slot is.
func TestLinkWriteFollowsTheSlot(t *testing.T) {
	c := testenv.RedisCluster(t, 0)
	b := owning(t, open(t, c.URL(), nil))
	slot := c.Masters[0].Do("CLUSTER", "KEYSLOT", "k").(int64)
	to := c.Masters[(int(slot)*len(c.Masters)/16384+1)%len(c.Masters)]
	put(t, b, "k", "before")
	if _, err := b.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	id := to.Do("CLUSTER", "MYID")
	for _, m := range append([]*testenv.RedisServer{to}, c.Masters...) {
		m.Do("CLUSTER", "SETSLOT", slot, "NODE", id)
	}
	put(t, b, "k", "after")
	if v := to.Do("GET", "k"); v != "after" {
		t.Errorf("the new owner of the slot holds %q", v)
	}
}
