package l1_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/cachekit-io/cachekit-go/l1"
)

func newCache(maxBytes int64) *l1.Cache[string] {
	return l1.New(func(_, v string) int { return len(v) }, &l1.Options{MaxBytes: maxBytes})
}

var minute = l1.Life{TTL: time.Minute}

func TestWritesAndFills(t *testing.T) {
	type step func(c *l1.Cache[string])
	for _, tc := range []struct {
		rule string
		run  step
		want string // "" is none
	}{
		{"a write leaves its copy", func(c *l1.Cache[string]) { c.Commit(c.Begin("k"), "k", "new", minute) }, "new"},
		{"a write under way leaves none", func(c *l1.Cache[string]) { c.Put("k", "old", minute); c.Begin("k") }, ""},
		{"a failed write leaves none", func(c *l1.Cache[string]) { c.Put("k", "old", minute); c.Abort(c.Begin("k"), "k") }, ""},
		{"a read fills", func(c *l1.Cache[string]) { c.Fill(c.Watch("k"), "k", "read", minute) }, "read"},
		{"a read that a write overtook does not", func(c *l1.Cache[string]) {
			r := c.Watch("k")
			c.Commit(c.Begin("k"), "k", "new", minute)
			c.Fill(r, "k", "old", minute)
		}, "new"},
		{"nor one that was sent while a write was under way", func(c *l1.Cache[string]) {
			w := c.Begin("k")
			r := c.Watch("k")
			c.Commit(w, "k", "new", minute)
			c.Fill(r, "k", "old", minute)
		}, "new"},
		{"nor one that ends before the write does, for long", func(c *l1.Cache[string]) {
			w := c.Begin("k")
			c.Fill(c.Watch("k"), "k", "old", minute)
			c.Abort(w, "k")
		}, ""},
		{"overlapping writes leave no copy", func(c *l1.Cache[string]) {
			a, b := c.Begin("k"), c.Begin("k")
			c.Commit(b, "k", "b", minute)
			c.Commit(a, "k", "a", minute)
		}, ""},
		{"in either order", func(c *l1.Cache[string]) {
			a, b := c.Begin("k"), c.Begin("k")
			c.Commit(a, "k", "a", minute)
			c.Commit(b, "k", "b", minute)
		}, ""},
		{"an invalidation voids a fill", func(c *l1.Cache[string]) { r := c.Watch("k"); c.Invalidate("k"); c.Fill(r, "k", "old", minute) }, ""},
		{"a flush voids a fill", func(c *l1.Cache[string]) { r := c.Watch("k"); c.Flush(); c.Fill(r, "k", "old", minute) }, ""},
		{"a flush voids a commit", func(c *l1.Cache[string]) { w := c.Begin("k"); c.Flush(); c.Commit(w, "k", "new", minute) }, ""},
		{"a flush drops everything", func(c *l1.Cache[string]) { c.Put("k", "old", minute); c.Flush() }, ""},
		{"no time to live is no entry", func(c *l1.Cache[string]) { c.Put("k", "old", minute); c.Put("k", "v", l1.Life{}) }, ""},
		{"what is too large is refused, and the old entry goes", func(c *l1.Cache[string]) {
			c.Put("k", "old", minute)
			c.Put("k", string(make([]byte, 2<<20)), minute)
		}, ""},
	} {
		c := newCache(1 << 20)
		tc.run(c)
		got, stale, ok := c.Get("k")
		if got != tc.want || ok != (tc.want != "") || stale {
			t.Errorf("%s: got %q, %v; want %q", tc.rule, got, ok, tc.want)
		}
	}
}

func TestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(1 << 20)
		c.Put("k", "v", l1.Life{TTL: time.Minute, Fresh: 30 * time.Second})
		c.Put("forever", "v", l1.Life{TTL: math.MaxInt64})
		for _, tc := range []struct {
			wait      time.Duration
			stale, ok bool
		}{{0, false, true}, {30*time.Second - 1, false, true}, {1, true, true}, {30*time.Second - 1, true, true}, {1, false, false}, {time.Hour, false, false}} {
			time.Sleep(tc.wait) // the bubble's clock
			if _, stale, ok := c.Get("k"); stale != tc.stale || ok != tc.ok {
				t.Errorf("after %v more: stale %v, there %v; want %v, %v", tc.wait, stale, ok, tc.stale, tc.ok)
			}
		}
		time.Sleep(200 * 365 * 24 * time.Hour)
		if _, _, ok := c.Get("forever"); !ok {
			t.Error("an entry without expiry expired")
		}
		if s := c.Stats(); s.Hits != 5 || s.Misses != 2 || s.Entries != 1 {
			t.Errorf("%+v", s)
		}
		c.Close()
	})
}

// The test of USERS.md, feature 9, on the layer alone: whatever the
// interleaving, a copy never disagrees with the storage once all is quiet.
func TestCopiesAgreeWithTheStorage(t *testing.T) {
	const keys, goroutines, rounds = 4, 8, 20_000
	c := newCache(1 << 20)
	var storage [keys]atomic.Pointer[string]
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 1))
			for i := range rounds {
				k := r.IntN(keys)
				key := fmt.Sprint(k)
				switch v := fmt.Sprint(g, "/", i); r.IntN(10) {
				case 0, 1, 2:
					t := c.Begin(key)
					storage[k].Store(&v)
					c.Commit(t, key, v, minute)
				case 3:
					t := c.Begin(key)
					storage[k].Store(nil)
					c.Abort(t, key)
				case 4:
					if i%100 == 0 {
						c.Flush()
					}
				default:
					if _, _, ok := c.Get(key); ok {
						continue
					}
					t := c.Watch(key)
					if v := storage[k].Load(); v != nil {
						c.Fill(t, key, *v, minute)
					}
				}
				if i%1000 == 0 && g == 0 {
					continue
				}
			}
		})
	}
	wg.Wait()
	for k := range keys {
		copied, _, ok := c.Get(fmt.Sprint(k))
		if stored := storage[k].Load(); ok && (stored == nil || *stored != copied) {
			t.Errorf("key %d: the copy is %q, the storage does not hold that", k, copied)
		}
	}
}

func TestBoundHolds(t *testing.T) {
	const limit = 1 << 20
	c := newCache(limit)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 20_000 {
				c.Put(fmt.Sprintf("%d/%d", g, i), string(make([]byte, i%2000)), minute)
				if i%1000 == 0 {
					if s := c.Stats(); s.Bytes > 2*limit {
						t.Errorf("%d bytes held, the bound is %d", s.Bytes, limit)
					}
				}
			}
		})
	}
	wg.Wait()
	s := c.Stats()
	if s.Entries == 0 || s.Evictions == 0 || s.MaxBytes != limit {
		t.Errorf("%+v", s)
	}
}

// BenchmarkHit compares a hit on a filled layer with bare otter.
func BenchmarkHit(b *testing.B) {
	const n = 10_000
	bare := otter.Must(&otter.Options[string, string]{MaximumSize: n})
	c := newCache(64 << 20)
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("users:%d", i)
		bare.Set(keys[i], "value")
		c.Put(keys[i], "value", minute)
	}
	b.Run("otter", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			bare.GetIfPresent(keys[i%n])
		}
	})
	b.Run("l1", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			c.Get(keys[i%n])
		}
	})
}
