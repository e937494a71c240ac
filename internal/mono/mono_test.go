package mono_test

import (
	"math"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/mono"
)

// Rule: numbers are ordered as times are, 0 is long ago, and a time too far to be
// told is later than all.
func TestOrder(t *testing.T) {
	now := time.Now()
	at := mono.At(now, now)
	if before := mono.Now(); at > before || before-at > int64(time.Minute) {
		t.Errorf("now is %d, and %d when it is read again", at, before)
	}
	if at < int64(time.Hour) {
		t.Errorf("now is %d: 0 is not an hour ago", at)
	}
	for _, c := range []struct {
		name  string
		later time.Duration
		want  int64
	}{
		{"a second later", time.Second, at + int64(time.Second)},
		{"a second ago", -time.Second, at - int64(time.Second)},
		{"for ever", math.MaxInt64, math.MaxInt64},
	} {
		// Time.Sub saturates, as Time.Add does not.
		if c.later == math.MaxInt64 {
			if got := mono.At(now.AddDate(1000, 0, 0), now); got != c.want {
				t.Errorf("%s: %d, want %d", c.name, got, c.want)
			}
			if got := mono.In(c.later); got != c.want {
				t.Errorf("%s, by In: %d, want %d", c.name, got, c.want)
			}
			continue
		}
		if got := mono.At(now.Add(c.later), now); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
		if got := mono.At(now.Add(c.later).Round(0), now); got != c.want {
			t.Errorf("%s, by the wall clock alone: %d, want %d", c.name, got, c.want)
		}
	}
}
