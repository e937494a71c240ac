package testenv_test

import (
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// Rule: the wall clock moves by what was asked, for this process, and back at the
// end; monotonic time, sleeps and timers go on as ever.
func TestMoveClock(t *testing.T) {
	start := time.Now()
	for _, d := range []time.Duration{time.Hour, -time.Hour, 40 * 24 * time.Hour, 0} {
		t.Run(d.String(), func(t *testing.T) {
			testenv.MoveClock(t, d)
			now := time.Now()
			real := start.Round(0).Add(time.Since(start))
			if off := now.Round(0).Sub(real) - d; off.Abs() > time.Second {
				t.Errorf("the clock is %v off", off)
			}
			if p := now.Sub(start); p < 0 || p > time.Minute {
				t.Errorf("%v have passed on the monotonic clock", p)
			}
			select {
			case <-time.After(time.Millisecond):
			case <-time.After(time.Minute):
				t.Error("a timer of a millisecond does not end")
			}
		})
		if off := time.Now().Round(0).Sub(start.Round(0).Add(time.Since(start))); off.Abs() > time.Second {
			t.Errorf("the clock is %v off after the test", off)
		}
	}
}
