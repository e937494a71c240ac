package iotest_test

import (
	"fmt"
	"testing"
	"time"
)

// TestWindows walks an entry through its life on a clock that stands 0.3 s past a
// whole second: bounds are whole seconds, Fresh-For rounds down and ttl up.
func TestWindows(t *testing.T) {
	s := frozen(t, 300*time.Millisecond)
	c := newClient(t, s, true)
	c.want(200, "PUT", base+"k", "x", "X-CacheKit-TTL: 10", "X-CacheKit-Stale-TTL: 5")
	var at time.Duration
	for _, step := range []struct {
		after            time.Duration // since the entry was stored
		status           int
		freshness, fresh string
		left             float64
	}{
		{0, 200, "fresh", "9", 15},
		{600 * time.Millisecond, 200, "fresh", "9", 15},
		{700 * time.Millisecond, 200, "fresh", "9", 14},
		{9 * time.Second, 200, "fresh", "0", 6},
		{9699 * time.Millisecond, 200, "fresh", "0", 6},
		{9700 * time.Millisecond, 200, "stale", "0", 5},
		{14699 * time.Millisecond, 200, "stale", "0", 1},
		{14700 * time.Millisecond, 404, "", "", 0},
	} {
		s.Advance(step.after - at)
		at = step.after
		r := c.want(step.status, "GET", base+"k", "")
		if r.header.Get("X-CacheKit-Freshness") != step.freshness || r.header.Get("X-CacheKit-Fresh-For") != step.fresh {
			t.Errorf("after %v: %v, want %s for %s", step.after, r.header, step.freshness, step.fresh)
		}
		head := c.want(step.status, "HEAD", base+"k", "")
		if head.header.Get("X-CacheKit-Freshness") != step.freshness || head.header.Get("X-CacheKit-Fresh-For") != "" {
			t.Errorf("after %v: HEAD %v", step.after, head.header)
		}
		if ttl := c.want(step.status, "GET", base+"k/ttl", ""); step.left > 0 && ttl.field("ttl") != step.left {
			t.Errorf("after %v: ttl %s, want %v", step.after, ttl.body, step.left)
		}
	}
}

func TestTimingRefusals(t *testing.T) {
	s := start(t, nil)
	c := newClient(t, s, true)
	const ttl, stale = "X-CacheKit-TTL: ", "X-CacheKit-Stale-TTL: "
	for _, ok := range [][]string{
		{}, {ttl + "1"}, {ttl + "2592000"}, {"X-TTL: 5"}, {ttl + "5", "X-TTL: nonsense"}, {ttl + "5", stale + "0"},
		{ttl + "1", stale + "2591999"}, {"X-TTL: 5", stale + "5"}, {ttl + "0000000000000000005"},
	} {
		c.want(200, "PUT", base+"k", "x", ok...)
	}
	for _, bad := range [][]string{
		{ttl + "0"}, {ttl + "-1"}, {ttl + "2592001"}, {ttl + "1.5"}, {ttl + "+5"}, {ttl + "5s"}, {ttl + "0x10"}, {ttl + "99999999999999999999"},
		{"X-TTL: 0"}, {ttl + "5", stale + "-1"}, {ttl + "5", stale + "2592000"}, {ttl + "5", stale + "1.5"}, {stale + "5"},
		{ttl + "2", stale + "2591999"}, {ttl + "2592000", stale + "1"},
	} {
		c.want(400, "PUT", base+"k2", "x", bad...)
	}
	c.want(404, "GET", base+"k2", "")
}

// TestNoExpiry: without a TTL an entry is fresh for ever and has no bound to tell.
func TestNoExpiry(t *testing.T) {
	s := frozen(t, 0)
	c := newClient(t, s, true)
	c.want(200, "PUT", base+"k", "x")
	s.Advance(10 * 365 * 24 * time.Hour)
	r := c.want(200, "GET", base+"k", "")
	if _, bounded := r.header["X-Cachekit-Fresh-For"]; r.header.Get("X-CacheKit-Freshness") != "fresh" || bounded {
		t.Errorf("%v", r.header)
	}
	if r := c.want(200, "GET", base+"k/ttl", ""); r.body != `{"ttl":null}` {
		t.Errorf("ttl %s", r.body)
	}
	c.want(200, "PATCH", base+"k/ttl", `{"ttl": 10}`)
	if r := c.want(200, "GET", base+"k/ttl", ""); r.body != `{"ttl":10}` {
		t.Errorf("after PATCH: ttl %s", r.body)
	}
	s.Advance(10 * time.Second)
	c.want(404, "GET", base+"k", "")
}

func TestPut(t *testing.T) {
	s := frozen(t, 0)
	c := newClient(t, s, true)
	c.want(200, "PUT", base+"k", "1", "X-CacheKit-TTL: 10", "X-CacheKit-Stale-TTL: 10")
	c.want(200, "PUT", base+"k", "2", "X-CacheKit-TTL: 10")
	s.Advance(10 * time.Second)
	c.want(404, "GET", base+"k", "") // the old stale window went with the old entry
}

func TestPatchTTL(t *testing.T) {
	s := frozen(t, 0)
	c := newClient(t, s, true)
	c.want(200, "PATCH", base+"absent/ttl", `{"ttl": 5}`)
	c.want(404, "GET", base+"absent/ttl", "")
	c.want(200, "PUT", base+"k", "x", "X-CacheKit-TTL: 10", "X-CacheKit-Stale-TTL: 7")
	for _, body := range []string{``, `{}`, `{"ttl": 0}`, `{"ttl": -1}`, `{"ttl": 2592001}`, `{"ttl": 1.5}`, `{"ttl": "5"}`, `{"ttl": null}`, `[5]`, `5`, `{"TTL": 5}`, `{"ttl": 2591994}`} {
		c.want(400, "PATCH", base+"k/ttl", body)
	}
	c.want(400, "PATCH", base+"absent/ttl", `{"ttl": 0}`)
	s.Advance(9 * time.Second)
	c.want(200, "PATCH", base+"k/ttl", `{"ttl": 20}`)
	if left := c.want(200, "GET", base+"k/ttl", "").field("ttl"); left != 27.0 {
		t.Errorf("%v left, want 20 and the stale window of 7", left)
	}
	s.Advance(20 * time.Second)
	c.want(409, "PATCH", base+"k/ttl", `{"ttl": 20}`)
	c.want(200, "GET", base+"k", "")
	s.Advance(7 * time.Second)
	c.want(200, "PATCH", base+"k/ttl", `{"ttl": 20}`)
	c.want(404, "GET", base+"k", "")
}

func TestLocks(t *testing.T) {
	s := frozen(t, 0)
	c := newClient(t, s, true)
	take := func() any {
		t.Helper()
		return c.want(200, "POST", base+"k/lock", `{"timeout_ms": 1500}`).field("lock_id")
	}
	release := func(headers ...string) { t.Helper(); c.want(200, "DELETE", base+"k/lock", "", headers...) }
	id := take()
	if text, _ := id.(string); len(text) != 36 {
		t.Fatalf("lock_id %v, want a UUID", id)
	}
	if r := c.want(200, "POST", base+"k/lock", `{"timeout_ms": 1500}`); r.body != `{"lock_id":null}` {
		t.Fatalf("contention answers %s", r.body)
	}
	c.want(404, "GET", base+"k", "") // a lock is no entry
	release("X-CacheKit-Lock-Id: 00000000-0000-4000-8000-000000000000")
	if take() != nil {
		t.Fatal("another id released the lock")
	}
	s.Advance(1499 * time.Millisecond)
	if take() != nil {
		t.Fatal("the lock ended before its time")
	}
	s.Advance(time.Millisecond)
	second := take()
	if second == nil || second == id {
		t.Fatalf("after its time: %v", second)
	}
	release(fmt.Sprint("X-CacheKit-Lock-Id: ", id)) // the first owner comes late
	if take() != nil {
		t.Fatal("an expired lock's id released its successor")
	}
	release(fmt.Sprint("X-CacheKit-Lock-Id:  ", second, " "))
	third := take()
	if third == nil {
		t.Fatal("the lock is still held")
	}
	c.want(200, "DELETE", fmt.Sprint(base, "k/lock?lock_id=", third), "") // deprecated, in transition
	if take() == nil {
		t.Fatal("the query did not release the lock")
	}
	c.want(400, "DELETE", base+"k/lock", "")
	c.want(400, "DELETE", base+"k/lock", "", "X-CacheKit-Lock-Id:  ")
	for _, body := range []string{``, `{}`, `{"timeout_ms": 0}`, `{"timeout_ms": -1}`, `{"timeout_ms": "1"}`, `{"timeoutMs": 5}`, `{"Timeout_ms": 5}`, `{"timeout_ms": 1e3}`, `{"timeout_ms": null}`, `[]`} {
		c.want(400, "POST", base+"k2/lock", body)
	}
	if r := c.want(200, "POST", base+"k2/lock", `{"timeout_ms": 9223372036854775807}`); r.field("lock_id") == nil {
		t.Errorf("a long lease: %s", r.body)
	}
	if r := c.want(200, "POST", base+"k2/lock", `{"timeout_ms": 5}`); r.field("lock_id") != nil {
		t.Errorf("a long lease is over at once: %s", r.body)
	}
}
