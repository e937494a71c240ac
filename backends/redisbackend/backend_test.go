package redisbackend_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

// Rule: Redis is told the TTL in milliseconds, rounded up, whatever its size.
func TestTTLAsTheServerSeesIt(t *testing.T) {
	s, b := server(t)
	for _, c := range []struct {
		ttl      time.Duration
		min, max int64 // PTTL
	}{
		{1, 0, 1},
		{999 * time.Millisecond, 500, 999},
		{1500*time.Millisecond + 1, 1000, 1501},
		{30 * 24 * time.Hour, 2591999000, 2592000000},
		{100 * 365 * 24 * time.Hour, 3153599990000, 3153600000000},
		{math.MaxInt64 - 1, math.MaxInt64/1000000 - 9999, math.MaxInt64/1000000 + 1},
		{backends.NoExpiry, -1, -1},
	} {
		if err := b.Set(t.Context(), "k", []byte("v"), c.ttl); err != nil {
			t.Errorf("Set with ttl %d: %v", c.ttl, err)
			continue
		}
		if got := s.Do("PTTL", "k").(int64); (got < c.min || got > c.max) && c.ttl != 1 {
			t.Errorf("ttl %v: PTTL = %d, want %d to %d", c.ttl, got, c.min, c.max)
		}
		if c.ttl < time.Second {
			continue
		}
		e, err := b.GetEntry(t.Context(), "k")
		left, terr := b.TTL(t.Context(), "k")
		if err != nil || terr != nil || e.TTL <= 0 || left <= 0 || string(e.Value) != "v" {
			t.Errorf("ttl %v: GetEntry = %+v, %v; TTL = %v, %v", c.ttl, e, err, left, terr)
		}
		if forever := c.ttl == backends.NoExpiry; (e.TTL == backends.NoExpiry) != forever || (left == backends.NoExpiry) != forever {
			t.Errorf("ttl %v: read back as %v and %v", c.ttl, e.TTL, left)
		}
	}
	for _, ttl := range []time.Duration{0, -1, math.MinInt64} {
		if err := b.Set(t.Context(), "k", nil, ttl); !errors.Is(err, backends.ErrTTL) {
			t.Errorf("Set with ttl %d: %v, want ErrTTL", ttl, err)
		}
	}
}

func TestTouchTakesExpiryAway(t *testing.T) {
	s, b := server(t)
	set(t, b, "k", "v")
	for range 2 {
		if ok, err := b.Touch(t.Context(), "k", backends.NoExpiry); !ok || err != nil {
			t.Errorf("Touch = %v, %v", ok, err)
		}
	}
	if got := s.Do("PTTL", "k"); got != int64(-1) {
		t.Errorf("PTTL = %v", got)
	}
	if ok, err := b.Touch(t.Context(), "missing", backends.NoExpiry); ok || err != nil {
		t.Errorf("Touch of a missing entry = %v, %v", ok, err)
	}
}
