package secure_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/secure"
)

// tally counts how often each key is loaded, and by what calls.
type tally struct {
	mu    sync.Mutex
	n     map[string]int
	calls [][]string
}

// loader returns "of k" for each key k after d.
func (l *tally) loader(d time.Duration) func(context.Context, []string) (map[string]string, error) {
	return func(_ context.Context, keys []string) (map[string]string, error) {
		l.mu.Lock()
		if l.n == nil {
			l.n = map[string]int{}
		}
		for _, k := range keys {
			l.n[k]++
		}
		l.calls = append(l.calls, slices.Sorted(slices.Values(keys)))
		l.mu.Unlock()
		time.Sleep(d)
		out := map[string]string{}
		for _, k := range keys {
			out[k] = "of " + k
		}
		return out, nil
	}
}

func (l *tally) loads() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.n)
}

func (l *tally) called() [][]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.calls)
}

// numbered returns the names of the keys from up to to.
func numbered(from, to int) (out []string) {
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprintf("k%03d", i))
	}
	return out
}

// want checks that a batch has the values of tally's loader.
func want(t *testing.T, got map[string]string, err error, keys []string) {
	t.Helper()
	if err != nil || len(got) != len(keys) {
		t.Errorf("%d of %d values, %v", len(got), len(keys), err)
	}
	for _, k := range keys {
		if got[k] != "of "+k {
			t.Errorf("%s is %q", k, got[k])
		}
	}
}

// way is how a storage takes the locks of a batch.
type way func(*fake, backends.Locker) backends.Backend

func oneByOne(f *fake, l backends.Locker) backends.Backend {
	return struct {
		*fake
		backends.Locker
	}{f, l}
}

// inBatches has calls for many locks, which it counts.
type inBatches struct {
	*fake
	backends.Locker
	calls atomic.Int32
}

func together(f *fake, l backends.Locker) backends.Backend { return &inBatches{fake: f, Locker: l} }

func (b *inBatches) LockMany(ctx context.Context, keys []string, lease time.Duration) []backends.LockResult {
	b.calls.Add(1)
	out := make([]backends.LockResult, len(keys))
	for i, k := range keys {
		out[i].Token, out[i].Err = b.Lock(ctx, k, lease)
	}
	return out
}

func (b *inBatches) UnlockMany(ctx context.Context, locks []backends.HeldLock) []backends.UnlockResult {
	b.calls.Add(1)
	out := make([]backends.UnlockResult, len(locks))
	for i, l := range locks {
		out[i].Released, out[i].Err = b.Unlock(ctx, l.Key, l.Token)
	}
	return out
}

// eachWay runs f in a bubble for each of the ways.
func eachWay(t *testing.T, f func(t *testing.T, over way)) {
	t.Helper()
	for name, over := range map[string]way{"one by one": oneByOne, "together": together} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { f(t, over) }) })
	}
}

// lockers is a storage with locks, and one cache of a fleet on it. held are taken
// by somebody else for d.
func lockers(t *testing.T, over way, d time.Duration, held ...string) (*locking, *secure.Cache) {
	t.Helper()
	l := &locking{fake: newFake(), until: map[string]time.Time{}}
	for _, k := range held {
		l.until[k] = time.Now().Add(d)
	}
	c := open(t, l.fake, func(o *secure.Options) { o.Backend = over(l.fake, l) })
	return l, c
}

// none checks that no lock is left, once those that are given back in the
// background have been.
func (l *locking) none(t *testing.T) {
	t.Helper()
	synctest.Wait()
	if _, held := l.seen(); held != 0 {
		t.Errorf("%d locks are left", held)
	}
}
