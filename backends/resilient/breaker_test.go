package resilient_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/resilient"
)

// circuit is a wrapper whose changes are recorded. Its calls make one attempt,
// so that one is one failure.
func circuit(t *testing.T, m *memory, opts resilient.Options) (*resilient.Backend, func() []string) {
	t.Helper()
	var mu sync.Mutex
	var seen []string
	opts.Attempts = 1
	opts.OnStateChange = func(from, to resilient.State) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, fmt.Sprint(from, " > ", to))
	}
	return wrap(t, m, &opts), func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(seen)
	}
}

func get(t *testing.T, b *resilient.Backend) error {
	t.Helper()
	_, err := b.Get(t.Context(), "k")
	return err
}

func TestCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		b, changes := circuit(t, m, resilient.Options{})
		m.fail = failTimes(1<<20, failure(backends.Transient))
		for range 4 {
			get(t, b)
		}
		if b.Stats().State != resilient.Closed {
			t.Fatal("open after 4 failures, want 5")
		}
		get(t, b)
		m.calls = nil
		if err := get(t, b); kindOf(err) != backends.CircuitOpen || !backends.IsOutage(err) || len(m.calls) != 0 {
			t.Fatalf("got %v, sent %v; want CircuitOpen and nothing sent", err, m.calls)
		}
		time.Sleep(5*time.Second - 1)
		if err := get(t, b); kindOf(err) != backends.CircuitOpen {
			t.Errorf("just before OpenFor: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if err := get(t, b); kindOf(err) != backends.Transient {
			t.Errorf("the probe got %v, want the storage's failure", err)
		}
		if err := get(t, b); kindOf(err) != backends.CircuitOpen {
			t.Errorf("after a failed probe: %v", err)
		}
		m.fail = nil
		time.Sleep(5 * time.Second)
		for range 3 {
			if err := get(t, b); err != backends.ErrNotFound {
				t.Errorf("a probe got %v, want the miss", err)
			}
		}
		want := []string{"closed > open", "open > half-open", "half-open > open", "open > half-open", "half-open > closed"}
		if got := changes(); !slices.Equal(got, want) {
			t.Errorf("the hook saw %q, want %q", got, want)
		}
		if s := b.Stats(); s.State != resilient.Closed || s.Trips != 2 || s.Refused != 3 {
			t.Errorf("%+v", s)
		}
	})
}

func TestWhatCountsForTheCircuit(t *testing.T) {
	slow := func(ctx context.Context, _, _ string) error { time.Sleep(1100 * time.Millisecond); return ctx.Err() }
	for _, tc := range []struct {
		rule string
		fail func(context.Context, string, string) error
		want resilient.State
	}{
		{"transient failures", failTimes(99, failure(backends.Transient)), resilient.Open},
		{"timeouts", failTimes(99, failure(backends.Timeout)), resilient.Open},
		{"a context that ends after a second without an answer", slow, resilient.Open},
		{"not misses", failTimes(99, backends.ErrNotFound), resilient.Closed},
		{"not refused credentials", failTimes(99, failure(backends.Auth)), resilient.Closed},
		{"not bad requests", failTimes(99, failure(backends.Permanent)), resilient.Closed},
		{"not large values", failTimes(99, failure(backends.TooLarge)), resilient.Closed},
		{"not a full storage", failTimes(99, failure(backends.Overload)), resilient.Closed},
		{"not refused keys", failTimes(99, &backends.KeyError{Reason: "x"}), resilient.Closed},
		{"not a context that ends sooner", failTimes(99, context.DeadlineExceeded), resilient.Closed},
		{"not a cancellation", failTimes(99, context.Canceled), resilient.Closed},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory()
			m.fail = tc.fail
			b, _ := circuit(t, m, resilient.Options{})
			for range 20 {
				ctx, cancel := context.WithTimeout(t.Context(), 1050*time.Millisecond)
				_, _ = b.Get(ctx, "k")
				cancel()
			}
			if got := b.Stats().State; got != tc.want {
				t.Errorf("%s: the circuit is %v, want %v", tc.rule, got, tc.want)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // the wrapper's own deadline, however short
		m := newMemory()
		m.fail = stalls
		b, _ := circuit(t, m, resilient.Options{Timeout: 10 * time.Millisecond})
		for range 5 {
			get(t, b)
		}
		if b.Stats().State != resilient.Open {
			t.Error("calls that ended with Options.Timeout do not count")
		}
	})
}

// Failures that lie further apart than the window do not add up, and a call
// counts once however often it was sent.
func TestFailuresAreCountedInAWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.fail = failTimes(1<<20, failure(backends.Transient))
		b := wrap(t, m, nil)
		for range 20 {
			if get(t, b); b.Stats().State != resilient.Closed {
				t.Fatal("4 failures a minute opened the circuit")
			}
			time.Sleep(16 * time.Second)
		}
		for range 2 {
			get(t, b)
		}
		if s := b.Stats(); s.State != resilient.Open || s.Retries != uint64(len(m.calls)-22) {
			t.Errorf("after 5 failures within a minute: %+v", s)
		}
	})
}

// A probe that says nothing of the storage gives its place back: the circuit
// neither sticks nor closes.
func TestSilentProbes(t *testing.T) {
	for name, silent := range map[string]error{"cancelled": context.Canceled, "a refused key": &backends.KeyError{Reason: "x"}, "too large": failure(backends.TooLarge)} {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory()
			m.fail = failTimes(5, failure(backends.Transient))
			b, _ := circuit(t, m, resilient.Options{})
			for range 5 {
				get(t, b)
			}
			time.Sleep(5 * time.Second)
			m.fail = failTimes(50, silent)
			for range 50 {
				if err := get(t, b); !errors.Is(err, silent) {
					t.Fatalf("%s: a probe got %v", name, err)
				}
			}
			if got := b.Stats().State; got != resilient.HalfOpen {
				t.Errorf("%s: the circuit is %v, want half-open", name, got)
			}
			for range 3 {
				get(t, b)
			}
			if got := b.Stats().State; got != resilient.Closed {
				t.Errorf("%s: after three answers the circuit is %v", name, got)
			}
		})
	}
}

// A probe whose backend panics gives its place back too, in both layers.
func TestPanicsGiveTheirPlacesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.fail = failTimes(5, failure(backends.Transient))
		b, _ := circuit(t, m, resilient.Options{MaxRunning: 1})
		for range 5 {
			get(t, b)
		}
		time.Sleep(5 * time.Second)
		m.fail = func(context.Context, string, string) error { panic("a backend's bug") }
		for range 10 {
			func() {
				defer func() {
					if recover() == nil {
						t.Error("the panic was swallowed")
					}
				}()
				get(t, b)
			}()
		}
		m.fail = nil
		for range 3 {
			if err := get(t, b); err != backends.ErrNotFound {
				t.Errorf("after the panics: %v", err)
			}
		}
		if s := b.Stats(); s.State != resilient.Closed || s.Running != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// At most three calls at a time probe; what began before the circuit opened is
// no evidence.
func TestProbesAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		block := make(chan struct{})
		m.fail = func(_ context.Context, op, key string) error {
			if key == "early" {
				<-block
			}
			return failure(backends.Transient)
		}
		b, _ := circuit(t, m, resilient.Options{Timeout: backends.NoExpiry})
		go b.Get(t.Context(), "early")
		synctest.Wait()
		for range 5 {
			get(t, b)
		}
		time.Sleep(5 * time.Second)
		probes := make(chan struct{})
		m.fail = func(context.Context, string, string) error { <-probes; return nil }
		errs := make(chan error, 20)
		for range 20 {
			go func() { errs <- get(t, b) }()
		}
		synctest.Wait()
		if s := b.Stats(); s.Running != 4 || s.Refused != 17 {
			t.Errorf("%d calls run and %d were refused, want 3 probes beside the early call, and 17", s.Running, s.Refused)
		}
		close(block) // fails while the circuit is half-open
		synctest.Wait()
		if got := b.Stats().State; got != resilient.HalfOpen {
			t.Errorf("the failure of a call from before opened the circuit: %v", got)
		}
		close(probes)
		synctest.Wait()
		if got := b.Stats().State; got != resilient.Closed {
			t.Errorf("after three answers the circuit is %v", got)
		}
	})
}

// A probe is one attempt, and an opening circuit ends the retries of others.
func TestNoRetriesAgainstAnOpenCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.fail = failTimes(1<<20, failure(backends.Transient))
		b := wrap(t, m, nil)
		for range 5 {
			get(t, b)
		}
		time.Sleep(5 * time.Second)
		m.calls = nil
		if get(t, b); len(m.calls) != 1 {
			t.Errorf("a probe was sent %d times", len(m.calls))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.fail = func(_ context.Context, _, key string) error {
			if key == "patient" {
				return &backends.Error{Kind: backends.Transient, RetryAfter: 3 * time.Second}
			}
			return failure(backends.Transient)
		}
		b := wrap(t, m, nil)
		done := make(chan error, 1)
		go func() { _, err := b.Get(t.Context(), "patient"); done <- err }()
		synctest.Wait()
		for range 5 {
			b.Get(t.Context(), "k")
		}
		if err := <-done; kindOf(err) != backends.Transient || m.sent("get", "patient") != 1 {
			t.Errorf("%v after %d attempts, want its own failure after 1", err, m.sent("get", "patient"))
		}
	})
}

// The hook may use the wrapper, and its panic is the caller's.
func TestHooksRunUnderNoLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.fail = failTimes(1<<20, failure(backends.Transient))
		var b *resilient.Backend
		var state resilient.State
		b = wrap(t, m, &resilient.Options{Attempts: 1, Failures: 1, MaxRunning: 1, OnStateChange: func(_, to resilient.State) {
			b.Get(t.Context(), "within")
			if state = b.Stats().State; state == resilient.Open {
				panic("the user's own")
			}
		}})
		func() {
			defer func() { _ = recover() }()
			get(t, b)
		}()
		if state != resilient.Open {
			t.Errorf("the hook saw %v", state)
		}
		if err := get(t, b); kindOf(err) != backends.CircuitOpen || b.Stats().Running != 0 {
			t.Errorf("after the panic: %v, %+v", err, b.Stats())
		}
	})
}

func TestBreakerSwitchedOff(t *testing.T) {
	m := newMemory()
	m.fail = failTimes(100, failure(backends.Transient))
	b, changes := circuit(t, m, resilient.Options{NoBreaker: true})
	for range 100 {
		if err := get(t, b); kindOf(err) != backends.Transient {
			t.Fatal(err)
		}
	}
	if s := b.Stats(); s.State != resilient.Closed || len(changes()) != 0 {
		t.Errorf("%+v", s)
	}
}
