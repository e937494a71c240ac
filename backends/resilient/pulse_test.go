package resilient_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/resilient"
)

// together makes calls that begin so close together that those after them share a
// reading of the clock, and returns their context, whose deadline is far.
func together(t *testing.T, b *resilient.Backend) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	t.Cleanup(cancel)
	for range 3 {
		_, _ = b.Get(ctx, "first")
	}
	return ctx
}

// Rule: calls that share a reading of the clock are judged by how long each of
// them was unanswered.
func TestCallsThatBeginTogetherAreTimedApart(t *testing.T) {
	for _, tc := range []struct {
		takes time.Duration
		want  resilient.State
	}{
		{850 * time.Millisecond, resilient.Closed},
		{1020 * time.Millisecond, resilient.Open},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory()
			b, _ := circuit(t, m, resilient.Options{})
			ctx := together(t, b)
			time.Sleep(60 * time.Millisecond)
			m.fail = func(context.Context, string, string) error { time.Sleep(tc.takes); return context.Canceled }
			var calls sync.WaitGroup
			for range 5 {
				calls.Go(func() { _, _ = b.Get(ctx, "k") })
			}
			calls.Wait()
			if got := b.Stats().State; got != tc.want {
				t.Errorf("the circuit is %v after calls that were left after %v, want %v", got, tc.takes, tc.want)
			}
		})
	}
}

// Rule: sharing a reading costs no call its retries, however short Options.Timeout
// is.
func TestCallsThatBeginTogetherAreRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		b := wrap(t, m, &resilient.Options{Timeout: 32 * time.Millisecond, BaseDelay: time.Millisecond})
		ctx := together(t, b)
		time.Sleep(40 * time.Millisecond)
		m.fail = failTimes(1, &backends.Error{Kind: backends.Transient, RetryAfter: time.Millisecond})
		if err := b.Set(ctx, "k", nil, time.Hour); kindOf(err) == backends.Transient && m.sent("set", "k") == 1 {
			t.Error("the call was not retried")
		}
	})
}

// Rule: where the timer of a shared reading was late, because the process was
// stopped, calls did not begin before that.
func TestALateTimerMakesNoCallOld(t *testing.T) {
	for _, ended := range []bool{false, true} {
		if got := resilient.SinceLateBeat(time.Hour, ended); got > time.Minute {
			t.Errorf("ended %t: a call seems to have begun %v ago", ended, got)
		}
	}
}

// Rule: nor does a call begin in a beat that has ended, where its timer was stopped
// before it said so to all.
func TestNoCallBeginsInABeatThatHasEnded(t *testing.T) {
	if got := resilient.SinceEndedBeat(time.Hour); got > time.Minute {
		t.Errorf("a call seems to have begun %v ago", got)
	}
}
