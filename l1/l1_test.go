package l1_test

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

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
		{"nor one that ends before the write does", func(c *l1.Cache[string]) {
			c.Begin("k")
			c.Fill(c.Watch("k"), "k", "old", minute)
		}, ""},
		{"a write that ends within another leaves no copy", func(c *l1.Cache[string]) {
			c.Begin("k")
			c.Commit(c.Begin("k"), "k", "inner", minute)
		}, ""},
		{"nor does the other", func(c *l1.Cache[string]) {
			a := c.Begin("k")
			c.Commit(c.Begin("k"), "k", "inner", minute)
			c.Commit(a, "k", "outer", minute)
		}, ""},
		{"a write after a failed one leaves its copy", func(c *l1.Cache[string]) {
			c.Abort(c.Begin("k"), "k")
			c.Commit(c.Begin("k"), "k", "new", minute)
		}, "new"},
		{"a read after a write fills", func(c *l1.Cache[string]) {
			c.Abort(c.Begin("k"), "k")
			c.Fill(c.Watch("k"), "k", "read", minute)
		}, "read"},
		{"an invalidation voids a commit", func(c *l1.Cache[string]) {
			w := c.Begin("k")
			c.Invalidate("k")
			c.Commit(w, "k", "new", minute)
		}, ""},
		{"overlapping writes leave no copy", func(c *l1.Cache[string]) {
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
		v, stale := c.Get("k")
		got := ""
		if v != nil {
			got = *v
		}
		if got != tc.want || stale {
			t.Errorf("%s: got %q, stale %v; want %q", tc.rule, got, stale, tc.want)
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
			if v, stale := c.Get("k"); stale != tc.stale || (v != nil) != tc.ok {
				t.Errorf("after %v more: stale %v, there %v; want %v, %v", tc.wait, stale, v != nil, tc.stale, tc.ok)
			}
		}
		c.Put("fresh for ever", "v", l1.Life{TTL: math.MaxInt64, Fresh: math.MaxInt64})
		c.Put("stale from the start", "v", l1.Life{TTL: math.MaxInt64, Fresh: 1})
		time.Sleep(200 * 365 * 24 * time.Hour)
		if v, _ := c.Get("forever"); v == nil {
			t.Error("an entry without expiry expired")
		}
		if v, stale := c.Get("fresh for ever"); stale || v == nil {
			t.Error("an entry that is fresh for ever is stale or gone")
		}
		if v, stale := c.Get("stale from the start"); !stale || v == nil {
			t.Error("a stale entry without expiry is fresh or gone")
		}
		if s := c.Stats(); s.Hits != 7 || s.Misses != 2 || s.Entries != 3 {
			t.Errorf("%+v", s)
		}
		c.Close()
	})
}

// What size says is trusted only as far as it makes sense.
func TestSizes(t *testing.T) {
	for _, size := range []int{-1, math.MinInt, math.MaxInt, math.MaxInt - 200} {
		c := l1.New(func(string, string) int { return size }, nil)
		if c.Put("k", "v", minute) {
			t.Errorf("an entry of %d bytes was stored", size)
		}
	}
	for _, bound := range []int64{1, 300, 1 << 40} {
		c := newCache(bound)
		if stored := c.Put("k", "v", minute); stored != (bound >= 300) {
			t.Errorf("bound %d: stored is %v", bound, stored)
		}
	}
}
