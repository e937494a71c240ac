package resilient_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/resilient"
)

func TestWhatIsRetried(t *testing.T) {
	ctxErr := func(ctx context.Context, _, _ string) error { return context.DeadlineExceeded }
	for _, tc := range []struct {
		rule     string
		fail     func(context.Context, string, string) error
		attempts int
		kind     backends.Kind
		is       error
	}{
		{"a transient failure is retried to the end", failTimes(9, failure(backends.Transient)), 3, backends.Transient, nil},
		{"one that passes is no failure", failTimes(2, failure(backends.Transient)), 3, 0, nil},
		{"a timeout is retried once", failTimes(9, failure(backends.Timeout)), 2, backends.Timeout, nil},
		{"a timeout that passes is no failure", failTimes(1, failure(backends.Timeout)), 2, 0, nil},
		{"a wrapped failure too", failTimes(1, errors.Join(failure(backends.Transient))), 2, 0, nil},
		{"refused credentials are final", failTimes(9, failure(backends.Auth)), 1, backends.Auth, nil},
		{"a refused value is final", failTimes(9, failure(backends.TooLarge)), 1, backends.TooLarge, nil},
		{"a bad request is final", failTimes(9, failure(backends.Permanent)), 1, backends.Permanent, nil},
		{"an overloaded storage is left alone", failTimes(9, failure(backends.Overload)), 1, backends.Overload, nil},
		{"an inner breaker is respected", failTimes(9, failure(backends.CircuitOpen)), 1, backends.CircuitOpen, nil},
		{"a miss is final", failTimes(9, backends.ErrNotFound), 1, 0, backends.ErrNotFound},
		{"a refused key is final", failTimes(9, &backends.KeyError{Reason: "x"}), 1, 0, nil},
		{"a refused TTL is final", failTimes(9, backends.ErrTTL), 1, 0, backends.ErrTTL},
		{"a closed backend is final", failTimes(9, backends.ErrClosed), 1, 0, backends.ErrClosed},
		{"the end of a context is final", ctxErr, 1, 0, context.DeadlineExceeded},
		{"an unknown error is final", failTimes(9, errors.New("x")), 1, 0, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory()
			m.values["k"], m.fail = []byte("v"), tc.fail
			b := wrap(t, m, nil)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := b.Get(ctx, "k")
			if n := m.sent("get", "k"); n != tc.attempts || kindOf(err) != tc.kind || tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("%s: %d attempts, %v; want %d, %v", tc.rule, n, err, tc.attempts, tc.kind)
			}
			if got := b.Stats().Retries; got != uint64(tc.attempts-1) {
				t.Errorf("%s: Stats count %d retries, want %d", tc.rule, got, tc.attempts-1)
			}
		})
	}
}

// The waits between attempts are random, within bounds that double.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		var at []time.Time
		m.fail = func(context.Context, string, string) error {
			at = append(at, time.Now())
			return failure(backends.Transient)
		}
		b := wrap(t, m, &resilient.Options{Attempts: 5, MaxDelay: 300 * time.Millisecond, Failures: 1 << 20})
		longest, shortest := make([]time.Duration, 4), []time.Duration{1 << 60, 1 << 60, 1 << 60, 1 << 60}
		for range 300 {
			at = nil
			if _, err := b.Get(t.Context(), "k"); kindOf(err) != backends.Transient || len(at) != 5 {
				t.Fatalf("%d attempts, %v", len(at), err)
			}
			for i := range longest {
				wait := at[i+1].Sub(at[i])
				longest[i], shortest[i] = max(longest[i], wait), min(shortest[i], wait)
			}
		}
		for i, limit := range []time.Duration{100, 200, 300, 300} {
			limit *= time.Millisecond
			if longest[i] >= limit || longest[i] < limit*8/10 || shortest[i] > limit*2/10 {
				t.Errorf("wait %d is %v to %v, want all of 0 to %v", i+1, shortest[i], longest[i], limit)
			}
		}
	})
}

// Rule: no server has a call wait longer than 30 s, whatever the options and the
// caller allow.
func TestRetryAfterIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		b := wrap(t, m, &resilient.Options{Timeout: backends.NoExpiry})
		later, cancel := context.WithTimeout(t.Context(), 2*366*24*time.Hour)
		defer cancel()
		for _, ctx := range []context.Context{t.Context(), later} {
			for asked, waits := range map[time.Duration]bool{30 * time.Second: true, 30*time.Second + 1: false, 366 * 24 * time.Hour: false} {
				m.calls, m.fail = nil, failTimes(1, &backends.Error{Kind: backends.Transient, RetryAfter: asked})
				start := time.Now()
				err := b.Set(ctx, "k", nil, 1)
				var failed *backends.Error
				switch {
				case waits && (err != nil || time.Since(start) != asked):
					t.Errorf("Retry-After %v: %v after %v, want nil after it", asked, err, time.Since(start))
				case !waits && (!errors.As(err, &failed) || failed.RetryAfter != asked || time.Since(start) != 0 || m.sent("set", "k") != 1):
					t.Errorf("Retry-After %v: %v after %v, want the failure with it at once", asked, err, time.Since(start))
				}
			}
		}
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		after := func(d time.Duration) {
			m.calls, m.fail = nil, failTimes(1, &backends.Error{Kind: backends.Transient, RetryAfter: d})
		}
		b := wrap(t, m, nil)
		after(2 * time.Second)
		start := time.Now()
		if err := b.Set(t.Context(), "k", nil, 1); err != nil || time.Since(start) != 2*time.Second {
			t.Errorf("Set = %v after %v, want nil after 2s", err, time.Since(start))
		}
		start = time.Now()
		after(6 * time.Second)
		if err := b.Set(t.Context(), "k", nil, 1); kindOf(err) != backends.Transient || m.sent("set", "k") != 1 || time.Since(start) != 0 {
			t.Errorf("a Retry-After past Options.Timeout: %v after %v, want the failure at once", err, time.Since(start))
		}
		after(2 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		if err := b.Set(ctx, "k", nil, 1); kindOf(err) != backends.Transient || time.Since(start) != 0 {
			t.Errorf("a Retry-After past the caller's deadline: %v after %v, want the failure at once", err, time.Since(start))
		}
	})
}

// stalls answers no call before its context ends.
func stalls(ctx context.Context, _, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestOneDeadlineForTheWholeCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		b := wrap(t, m, &resilient.Options{Timeout: 300 * time.Millisecond})
		batcher := b.Capabilities().Batcher
		m.fail = stalls
		for name, call := range map[string]func() error{
			"Get":     func() error { _, err := b.Get(t.Context(), "k"); return err },
			"GetMany": func() error { return batcher.GetMany(t.Context(), []string{"k"})[0].Err },
			"Health":  func() error { return b.Health(t.Context()).Err },
		} {
			start := time.Now()
			if err := call(); kindOf(err) != backends.Timeout || errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 300*time.Millisecond {
				t.Errorf("%s without a deadline = %v after %v, want Timeout after 300ms", name, err, time.Since(start))
			}
		}
		// Attempts that take 120 ms each: the third would be too late.
		m.calls, m.fail = nil, func(context.Context, string, string) error {
			time.Sleep(120 * time.Millisecond)
			return failure(backends.Transient)
		}
		if _, err := b.Get(t.Context(), "slow"); kindOf(err) == 0 || m.sent("get", "slow") > 3 {
			t.Errorf("%d attempts, %v", m.sent("get", "slow"), err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.fail = stalls
		b := wrap(t, m, &resilient.Options{Timeout: backends.NoExpiry})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Hour, cancel)
		if _, err := b.Get(ctx, "k"); !errors.Is(err, context.Canceled) {
			t.Errorf("without a Timeout: %v, want the caller's cancellation an hour later", err)
		}
	})
}

// The caller's context wins, whatever the wrapper waits for.
func TestTheCallersContextWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		b := wrap(t, m, &resilient.Options{BaseDelay: time.Second, MaxDelay: 3 * time.Second, MaxRunning: 1, MaxWait: time.Minute})
		batcher := b.Capabilities().Batcher
		for name, call := range map[string]func(context.Context) error{
			"Get":     func(ctx context.Context) error { _, err := b.Get(ctx, "k"); return err },
			"SetMany": func(ctx context.Context) error { return batcher.SetMany(ctx, []backends.Item{{Key: "k", TTL: 1}})[0] },
		} {
			// between two attempts
			m.fail = failTimes(9, &backends.Error{Kind: backends.Transient, RetryAfter: 3 * time.Second})
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(10*time.Millisecond, cancel)
			start := time.Now()
			if err := call(ctx); !errors.Is(err, context.Canceled) || time.Since(start) != 10*time.Millisecond {
				t.Errorf("%s cancelled between attempts = %v after %v", name, err, time.Since(start))
			}
			// waiting for a place
			m.fail = stalls
			busy, done := context.WithCancel(t.Context())
			go b.Get(busy, "busy")
			synctest.Wait()
			ctx, cancel = context.WithCancel(t.Context())
			time.AfterFunc(10*time.Millisecond, cancel)
			start = time.Now()
			if err := call(ctx); !errors.Is(err, context.Canceled) || time.Since(start) != 10*time.Millisecond {
				t.Errorf("%s cancelled while it waits = %v after %v", name, err, time.Since(start))
			}
			done()
			synctest.Wait()
		}
	})
}

// Nothing is sent after a call has returned.
func TestNothingIsRetriedAfterTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.fail = failTimes(1, failure(backends.Transient))
		b := wrap(t, m, &resilient.Options{BaseDelay: 4 * time.Second})
		for m.sent("set", "k") == 0 || len(m.calls) > 1 { // until the wait is the longer one
			m.calls, m.fail = nil, failTimes(1, failure(backends.Transient))
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Millisecond, cancel)
			_ = b.Set(ctx, "k", []byte("late"), time.Hour)
		}
		m.values["k"] = []byte("newer")
		time.Sleep(time.Hour)
		if m.value("k") != "newer" || len(m.calls) != 1 {
			t.Errorf("the abandoned write landed: %q, %v", m.value("k"), m.calls)
		}
	})
}
