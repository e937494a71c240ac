package l1

import (
	"testing"
	"time"
)

// The wall clock cannot be set in a test, so the readings of both clocks are.
func TestClock(t *testing.T) {
	type reading struct{ mono, wall time.Duration }
	for _, tc := range []struct {
		rule     string
		readings []reading
		want     time.Duration // the time that has passed at the last one
	}{
		{"both run", []reading{{time.Hour, time.Hour}}, time.Hour},
		{"a suspended host stops the monotonic clock", []reading{{time.Second, time.Second}, {2 * time.Second, time.Hour}}, time.Hour},
		{"twice", []reading{{1, time.Hour}, {2, 2 * time.Hour}}, 2 * time.Hour},
		{"a wall clock that is set back takes nothing away", []reading{{time.Minute, -time.Hour}}, time.Minute},
		{"and a suspension after that counts in full", []reading{{time.Minute, -time.Hour}, {time.Minute, 0}}, time.Hour + time.Minute},
		{"a wall clock that was ahead and is corrected takes nothing away", []reading{{1, time.Hour}, {2, 2}}, time.Hour + 1},
		{"the distance between two readings does not add up", []reading{
			{100, 105}, {200, 195}, {300, 305}, {400, 395}, {500, 505}, {600, 595}}, 605},
		{"nor does a reading that was interrupted", []reading{
			{time.Second, time.Second - 1e8}, {2 * time.Second, 2 * time.Second}, {3 * time.Second, 3*time.Second - 1e8}, {4 * time.Second, 4 * time.Second}}, 4 * time.Second},
	} {
		var c clock
		c.start()
		start := c.offset
		var got, former int64
		for _, r := range tc.readings {
			c.compare(int64(r.mono), start+int64(r.wall))
			got = int64(r.mono) + c.ahead.Load()
			if got < former {
				t.Errorf("%s: went back from %d to %d", tc.rule, former, got)
			}
			former = got
		}
		if time.Duration(got) != tc.want {
			t.Errorf("%s: %v have passed, want %v", tc.rule, time.Duration(got), tc.want)
		}
	}
}

// A hit after a suspension sees it: the entry is gone although the monotonic
// clock has hardly moved.
func TestSuspensionEndsEntries(t *testing.T) {
	c := New(func(string, int) int { return 8 }, nil)
	c.Put("k", 1, Life{TTL: time.Hour, Fresh: time.Minute})
	if v, stale := c.Get("k"); stale || v == nil {
		t.Fatal("no fresh entry")
	}
	suspend := func(d time.Duration) {
		c.clock.mu.Lock()
		c.clock.offset -= int64(d)
		c.clock.next.Store(0)
		c.clock.mu.Unlock()
	}
	suspend(time.Minute)
	if v, stale := c.Get("k"); !stale || v == nil {
		t.Error("an entry is still fresh after a suspension longer than its fresh part")
	}
	suspend(time.Hour)
	if v, _ := c.Get("k"); v != nil {
		t.Error("an entry is served after a suspension longer than its life")
	}
	if s := c.Stats(); s.Entries != 0 {
		t.Errorf("the expired entry was kept: %+v", s)
	}
}
