package testenv_test

import (
	"strconv"
	"strings"
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

// Rule: a server's clock moves while it runs, and shows in what it says of it.
func TestMoveServerClock(t *testing.T) {
	t.Parallel()
	s, m := testenv.Redis(t, nil), testenv.Memcached(t, nil)
	s.Do("SET", "k", "v", "EX", "600")
	for _, d := range []time.Duration{-time.Hour, 0, time.Hour} {
		s.Process().MoveClock(d)
		m.Process().MoveClock(d)
		told := s.Do("TIME").([]any)
		seconds, err := strconv.ParseInt(told[0].(string), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if off := time.Until(time.Unix(seconds, 0)) - d; off.Abs() > 5*time.Second {
			t.Errorf("moved by %v, the server's clock is %v off", d, off)
		}
		if answer := m.Do("version"); !strings.HasPrefix(answer, "VERSION ") {
			t.Errorf("memcached under another clock says %q", answer)
		}
	}
	if n := s.Do("EXISTS", "k"); n != int64(0) {
		t.Errorf("EXISTS after the TTL = %v", n)
	}
}
