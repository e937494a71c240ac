package resilient_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/resilient"
)

// failKeys fails the first n attempts on each of the keys.
func failKeys(n int, err error, keys ...string) func(context.Context, string, string) error {
	left := map[string]int{}
	for _, k := range keys {
		left[k] = n
	}
	return func(_ context.Context, _, key string) error {
		if left[key]--; left[key] >= 0 {
			return err
		}
		return nil
	}
}

// Of a batch, only the keys that failed and may be retried are sent again.
func TestBatchesRetryWhatFailed(t *testing.T) {
	testRetries(t, func(ctx context.Context, c backends.Caps, keys []string) []backends.GetResult {
		return c.Batcher.GetMany(ctx, keys)
	})
	testRetries(t, func(ctx context.Context, c backends.Caps, keys []string) []backends.GetResult {
		taken := 0 // by values, of all attempts
		got := c.BatchReader.ReadMany(ctx, keys, func(size int) []byte { taken += size; return make([]byte, size) })
		if taken != len("value of a")+len("value of b") {
			t.Errorf("%d bytes of memory were taken", taken)
		}
		return got
	})
}

func testRetries(t *testing.T, read func(context.Context, backends.Caps, []string) []backends.GetResult) {
	t.Helper()
	keys := []string{"a", "b", "c", "d", "e"}
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		for _, k := range keys[:4] {
			m.values[k] = []byte("value of " + k)
		}
		b := wrap(t, m, nil)
		once, always, fatal := failKeys(1, failure(backends.Transient), "b"), failKeys(9, failure(backends.Transient), "c"), failKeys(9, failure(backends.Permanent), "d")
		m.fail = func(ctx context.Context, op, key string) error {
			for _, f := range []func(context.Context, string, string) error{once, always, fatal} {
				if err := f(ctx, op, key); err != nil {
					return err
				}
			}
			return nil
		}
		got := read(t.Context(), b.Capabilities(), keys)
		for i, want := range []struct {
			value string
			kind  backends.Kind
			sent  int
		}{{"value of a", 0, 1}, {"value of b", 0, 2}, {"", backends.Transient, 3}, {"", backends.Permanent, 1}, {"", 0, 1}} {
			if r := got[i]; string(r.Entry.Value) != want.value || kindOf(r.Err) != want.kind || m.sent("get", keys[i]) != want.sent {
				t.Errorf("%s: %q, %v after %d attempts; want %q, %v, %d", keys[i], r.Entry.Value, r.Err, m.sent("get", keys[i]), want.value, want.kind, want.sent)
			}
		}
		if got[4].Err != backends.ErrNotFound {
			t.Errorf("the missing key: %v", got[4].Err)
		}
	})
}

func TestBatchedWritesRetryWhatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.fail = failKeys(1, failure(backends.Timeout), "b", "c")
		b := wrap(t, m, nil)
		c := b.Capabilities().Batcher
		var items []backends.Item
		for _, k := range []string{"a", "b", "c"} {
			items = append(items, backends.Item{Key: k, Value: []byte(k), TTL: time.Hour})
		}
		if errs := c.SetMany(t.Context(), items); errs[0] != nil || errs[1] != nil || errs[2] != nil || m.value("c") != "c" {
			t.Errorf("%v", errs)
		}
		if want := []string{"set a", "set b", "set c", "set b", "set c"}; !slices.Equal(m.calls, want) {
			t.Errorf("sent %v, want %v", m.calls, want)
		}
		m.calls, m.fail = nil, failKeys(2, failure(backends.Transient), "b")
		for i, r := range c.DeleteMany(t.Context(), []string{"a", "b", "none"}) {
			if r.Err != nil || r.Existed != (i < 2) {
				t.Errorf("deletion %d: %+v", i, r)
			}
		}
	})
}

// Of two items with one key the later stays, also if the earlier one failed.
func TestBatchesKeepTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.fail = failTimes(1, failure(backends.Transient)) // the first item
		b := wrap(t, m, nil)
		start := time.Now()
		errs := b.Capabilities().Batcher.SetMany(t.Context(), []backends.Item{
			{Key: "k", Value: []byte("earlier"), TTL: time.Hour}, {Key: "k", Value: []byte("later"), TTL: time.Hour},
		})
		if m.value("k") != "later" || errs[1] != nil || kindOf(errs[0]) != backends.Transient || time.Since(start) != 0 {
			t.Errorf("stored %q, %v, after %v", m.value("k"), errs, time.Since(start))
		}
	})
}

// Locks of a batch are sent once, each released again with its token until that is
// answered; a lock that another holds is an answer.
func TestBatchesOfLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.locks["held"] = "another's"
		m.fail = failKeys(1<<20, done{failure(backends.Transient)}, "lost")
		b := wrap(t, m, &resilient.Options{Failures: 1})
		c := b.Capabilities().BatchLocker
		for range 2 {
			got := c.LockMany(t.Context(), []string{"held", "lost", "held"}, time.Hour)
			if got[0].Err != backends.ErrLocked || kindOf(got[1].Err) != backends.Transient || got[2].Err != backends.ErrLocked {
				t.Errorf("LockMany = %+v", got)
			}
		}
		got := c.LockMany(t.Context(), []string{"free", "held"}, time.Hour)
		if got[0].Err != nil || got[0].Token != m.locks["free"] || got[1].Err != backends.ErrLocked {
			t.Errorf("LockMany = %+v", got)
		}
		if want := []string{"lock held", "lock lost", "lock held", "lock held", "lock lost", "lock held", "lock free", "lock held"}; !slices.Equal(m.calls, want) {
			t.Errorf("sent %v, want %v", m.calls, want)
		}
		m.calls, m.fail = nil, failKeys(1, failure(backends.Transient), "held")
		back := c.UnlockMany(t.Context(), []backends.HeldLock{{Key: "held", Token: "another's"}, {Key: "free", Token: "none"}})
		if !back[0].Released || back[0].Err != nil || back[1].Released || back[1].Err != nil {
			t.Errorf("UnlockMany = %+v", back)
		}
		if want := []string{"unlock held", "unlock free", "unlock held"}; !slices.Equal(m.calls, want) {
			t.Errorf("sent %v, want %v", m.calls, want)
		}
		if n := len(c.LockMany(t.Context(), nil, time.Hour)) + len(c.UnlockMany(t.Context(), nil)); n != 0 {
			t.Errorf("empty batches gave %d results", n)
		}
	})
}

func TestBatchesOfARefusingWrapper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.fail = failTimes(1<<20, failure(backends.Transient))
		b := wrap(t, m, &resilient.Options{Attempts: 1, Failures: 2})
		c := b.Capabilities().Batcher
		for range 2 { // however many keys: one failure
			c.GetMany(t.Context(), []string{"a", "b", "c", "d", "e", "f"})
		}
		for i, r := range c.GetMany(t.Context(), []string{"a", "b"}) {
			if kindOf(r.Err) != backends.CircuitOpen {
				t.Errorf("result %d: %v, want CircuitOpen", i, r.Err)
			}
		}
		if n := len(c.SetMany(t.Context(), nil)) + len(c.GetMany(t.Context(), nil)) + len(c.DeleteMany(t.Context(), nil)); n != 0 {
			t.Errorf("empty batches gave %d results", n)
		}
	})
	synctest.Test(t, func(t *testing.T) { // a node is down, others answer
		m := newMemory()
		m.fail = failKeys(1<<20, failure(backends.Transient), "down")
		b := wrap(t, m, &resilient.Options{Attempts: 1, Failures: 1})
		for range 20 {
			b.Capabilities().Batcher.GetMany(t.Context(), []string{"down", "up"})
		}
		if s := b.Stats(); s.State != resilient.Closed {
			t.Errorf("batches that were answered in part opened the circuit: %+v", s)
		}
	})
}
