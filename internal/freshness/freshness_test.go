package freshness_test

import (
	"strings"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/freshness"
)

// The family's values are in testvectors (freshness, fresh_for). These are the
// rules for repeated headers, which cachekit-rs 0.13.1 applies.
func TestRepeatedHeaders(t *testing.T) {
	for _, tc := range []struct {
		values []string
		stale  bool
	}{{[]string{"fresh", "fresh"}, false}, {[]string{"fresh", "stale"}, true}, {[]string{"stale", "fresh"}, true}} {
		if got := freshness.Stale(tc.values); got != tc.stale {
			t.Errorf("Stale(%q) = %t, want %t", tc.values, got, tc.stale)
		}
	}
	if d, bounded := freshness.For([]string{"5", "5"}); d != 0 || !bounded {
		t.Errorf("two bounds give %v, %t, want 0, true", d, bounded)
	}
}

func FuzzFor(f *testing.F) {
	for _, seed := range []string{"", "0", "5", "2592000", "2592001", "00000005", "-1", "4297559296", "²"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, v string) {
		d, bounded := freshness.For([]string{v})
		if !bounded || d < 0 || d > 30*24*time.Hour || d%time.Second != 0 {
			t.Errorf("For(%q) = %v, %t", v, d, bounded)
		}
		if digits := strings.Trim(v, "0123456789") == "" && len(v) > 0 && len(v) <= 7; !digits && d != 0 {
			t.Errorf("For(%q) = %v, want 0", v, d)
		}
	})
}
