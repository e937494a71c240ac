package resilient_test

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/resilient"
)

func TestBulkhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		block := make(chan struct{})
		m.fail = func(context.Context, string, string) error { <-block; return nil }
		b := wrap(t, m, &resilient.Options{Timeout: backends.NoExpiry})
		type outcome struct {
			err   error
			after time.Duration
		}
		start, outcomes := time.Now(), make(chan outcome, 1200)
		for range 1200 {
			go func() {
				err := b.Set(t.Context(), "k", nil, time.Hour)
				outcomes <- outcome{err, time.Since(start)}
			}()
		}
		synctest.Wait()
		if s := b.Stats(); s.Running != 100 || s.Waiting != 1000 || s.Rejected != 100 {
			t.Errorf("%d run, %d wait, %d rejected; want 100, 1000, 100", s.Running, s.Waiting, s.Rejected)
		}
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if s := b.Stats(); s.Running != 100 || s.Waiting != 0 || s.Rejected != 1100 {
			t.Errorf("after MaxWait: %d run, %d wait, %d rejected; want 100, 0, 1100", s.Running, s.Waiting, s.Rejected)
		}
		close(block)
		synctest.Wait()
		count := map[time.Duration]int{}
		for range 1200 {
			o := <-outcomes
			if o.err != nil && (kindOf(o.err) != backends.Overload || !backends.IsOutage(o.err)) {
				t.Fatalf("rejected with %v, want Overload", o.err)
			}
			if o.err != nil {
				count[o.after]++
			}
		}
		if count[0] != 100 || count[100*time.Millisecond] != 1000 {
			t.Errorf("rejections by time: %v", count)
		}
		if len(m.calls) != 100 || b.Stats().State != resilient.Closed {
			t.Errorf("%d calls were sent; the circuit is %v", len(m.calls), b.Stats().State)
		}
		if err := b.Set(t.Context(), "k", nil, time.Hour); err != nil {
			t.Errorf("after it all: %v", err)
		}
	})
}

// A place that comes free in time is taken, and a call keeps its place while it
// waits to be retried.
func TestPlacesAreHandedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.fail = func(_ context.Context, _, key string) error {
			if key == "first" {
				time.Sleep(50 * time.Millisecond)
			}
			return nil
		}
		b := wrap(t, m, &resilient.Options{MaxRunning: 1})
		go b.Get(t.Context(), "first")
		synctest.Wait()
		start := time.Now()
		if _, err := b.Get(t.Context(), "second"); err != backends.ErrNotFound || time.Since(start) != 50*time.Millisecond {
			t.Errorf("the second call: %v after %v", err, time.Since(start))
		}
		m.fail = failTimes(1, &backends.Error{Kind: backends.Transient, RetryAfter: time.Second})
		go b.Get(t.Context(), "retried")
		synctest.Wait()
		if _, err := b.Get(t.Context(), "shed"); kindOf(err) != backends.Overload {
			t.Errorf("beside a call that waits to be retried: %v, want Overload", err)
		}
		time.Sleep(time.Minute)
	})
}

func TestBulkheadSwitchedOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.fail = func(context.Context, string, string) error { time.Sleep(time.Second); return nil }
		b := wrap(t, m, &resilient.Options{NoBulkhead: true})
		for range 2000 {
			go func() {
				if err := b.Set(t.Context(), "k", nil, time.Hour); err != nil {
					t.Error(err)
				}
			}()
		}
		synctest.Wait()
		if s := b.Stats(); len(m.calls) != 2000 || s.Running != 0 {
			t.Errorf("%d calls were sent at once, want 2000", len(m.calls))
		}
		time.Sleep(time.Minute)
	})
}

// crowd counts the calls that are under way at once.
type crowd struct {
	*memory
	now, most atomic.Int32
}

func (c *crowd) Exists(context.Context, string) (bool, error) {
	n := c.now.Add(1)
	for most := c.most.Load(); n > most && !c.most.CompareAndSwap(most, n); most = c.most.Load() {
	}
	runtime.Gosched()
	c.now.Add(-1)
	return true, nil
}

// A place that comes free while a call begins to wait for one is not lost to it,
// and none is used twice.
func TestPlacesAreNeitherLostNorShared(t *testing.T) {
	for _, running := range []int{1, 3} {
		inner := &crowd{memory: newMemory()}
		b := wrap(t, inner, &resilient.Options{MaxRunning: running, MaxWait: 10 * time.Second, Timeout: time.Minute})
		for range 3000 {
			var calls sync.WaitGroup
			for range running + 1 {
				calls.Go(func() {
					if _, err := b.Exists(t.Context(), "k"); err != nil {
						t.Errorf("%d places: %v", running, err)
					}
				})
			}
			calls.Wait()
			if t.Failed() {
				return
			}
		}
		if s := b.Stats(); inner.most.Load() > int32(running) || s.Running != 0 || s.Waiting != 0 {
			t.Errorf("%d places: %d were used at once; then %d run, %d wait", running, inner.most.Load(), s.Running, s.Waiting)
		}
	}
}
