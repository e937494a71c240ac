package secure_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/memorybackend"
	"github.com/cachekit-io/cachekit-go/secure"
)

// brokenLocks fails each attempt after the first few.
type brokenLocks struct {
	*locking
	after int
}

func (l *brokenLocks) Lock(ctx context.Context, key string, lease time.Duration) (string, error) {
	if n, _ := l.seen(); n >= l.after {
		l.mu.Lock()
		l.tries++
		l.mu.Unlock()
		return "", &backends.Error{Op: "lock", Backend: "fake", Kind: backends.Permanent}
	}
	return l.locking.Lock(ctx, key, lease)
}

// Rule: where locks fail, a batch is loaded at once by one call, without waiting
// for what others hold; locks that it has got are given back.
func TestManyLocksThatFail(t *testing.T) {
	for _, after := range []int{0, 3} {
		eachWay(t, func(t *testing.T, over way) {
			l, _ := lockers(t, over, time.Hour, "k000")
			b := &brokenLocks{l, after}
			c := open(t, l.fake, func(o *secure.Options) { o.Backend = over(l.fake, b) })
			defer c.Close()
			keys, loads, start := numbered(0, 100), &tally{}, time.Now()
			got, err := secure.For[string](c).GetOrLoadMany(t.Context(), keys, loads.loader(0))
			want(t, got, err, keys)
			if calls := loads.called(); len(calls) != 1 || time.Since(start) != 0 {
				t.Errorf("%d calls of the loader, %v", len(calls), time.Since(start))
			}
			synctest.Wait()
			most := after + 16
			if _, ok := over(l.fake, b).(backends.BatchLocker); ok {
				most = len(keys)
			}
			if tries, held := l.seen(); tries > most || held != 1 || c.Stats().Absorbed != 1 {
				t.Errorf("%d tries, %d locks left, %d failures absorbed; want few, the other's, and 1", tries, held, c.Stats().Absorbed)
			}
		})
	}
}

// Rule: where a storage takes many locks together, a batch costs one call to take
// its own and one to give them back.
func TestManyLocksAreTakenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &locking{fake: newFake(), until: map[string]time.Time{}}
		b := &inBatches{fake: l.fake, Locker: l}
		c := open(t, l.fake, func(o *secure.Options) { o.Backend = b })
		defer c.Close()
		keys, loads := numbered(0, 100), &tally{}
		got, err := secure.For[string](c).GetOrLoadMany(t.Context(), keys, loads.loader(time.Second))
		want(t, got, err, keys)
		l.none(t)
		if tries, _ := l.seen(); tries != len(keys) || b.calls.Load() != 2 || len(loads.called()) != 1 {
			t.Errorf("%d tries and %d calls for %d locks, %d loads", tries, b.calls.Load(), len(keys), len(loads.called()))
		}
	})
}

// Rule: the lock of a key is held until its value is stored.
func TestManyLocksAreHeldUntilTheValuesAreStored(t *testing.T) {
	eachWay(t, func(t *testing.T, over way) {
		l, c := lockers(t, over, 0)
		defer c.Close()
		keys, loads := numbered(0, 40), &tally{}
		l.setFault(func(op, key string) error {
			if op == "set" {
				time.Sleep(time.Millisecond) // whatever gives locks back has done so
				l.mu.Lock()
				defer l.mu.Unlock()
				if _, held := l.until[key]; !held {
					t.Errorf("%s is stored without its lock", key)
				}
			}
			return nil
		})
		got, err := secure.For[string](c).GetOrLoadMany(t.Context(), keys, loads.loader(time.Second))
		want(t, got, err, keys)
		l.none(t)
	})
}

// Rule: locks that nobody gives back do not keep a batch from trying the others.
func TestStalledOwnersHideNoFreeLocks(t *testing.T) {
	eachWay(t, func(t *testing.T, over way) {
		keys := numbered(0, 100)
		l, c := lockers(t, over, time.Hour, keys[:20]...)
		defer c.Close()
		for _, k := range keys[20:] { // their owners end without a value
			l.until[k] = time.Now().Add(time.Second)
		}
		start, loads := time.Now(), &tally{}
		load := loads.loader(0)
		var took []time.Duration
		got, err := secure.For[string](c).GetOrLoadMany(t.Context(), keys, func(ctx context.Context, missing []string) (map[string]string, error) {
			took = append(took, time.Since(start))
			return load(ctx, missing)
		})
		want(t, got, err, keys)
		// All are tried by seven rounds, of pauses up to 150 ms.
		if calls := loads.called(); len(calls) != 2 || !slices.Equal(calls[0], keys[20:]) || took[0] > 2200*time.Millisecond {
			t.Errorf("the loader was asked for %v after %v", calls, took)
		}
	})
}

// Rule: who has loaded some of the keys looks at once for the others.
func TestNoPauseAfterALoad(t *testing.T) {
	eachWay(t, func(t *testing.T, over way) {
		l, c := lockers(t, over, time.Hour, "theirs")
		defer c.Close()
		other := open(t, l.fake, nil)
		defer other.Close()
		start, loads := time.Now(), &tally{}
		time.AfterFunc(time.Second, func() { _ = other.Set(context.Background(), "theirs", "of theirs") })
		got, err := secure.For[string](c).GetOrLoadMany(t.Context(), []string{"theirs", "mine"}, loads.loader(2*time.Second))
		want(t, got, err, []string{"theirs", "mine"})
		if calls := loads.called(); len(calls) != 1 || time.Since(start) != 2*time.Second {
			t.Errorf("%v, after %v, want the load of 2 s and nothing else", calls, time.Since(start))
		}
	})
}

// stalledLocks waits for the end of the context as long as it is told to.
type stalledLocks struct {
	*locking
	stalled sync.Map // "lock", "unlock"
}

func (l *stalledLocks) wait(ctx context.Context, op string) error {
	if _, ok := l.stalled.Load(op); ok {
		<-ctx.Done()
	}
	return ctx.Err()
}

func (l *stalledLocks) Lock(ctx context.Context, key string, lease time.Duration) (string, error) {
	if err := l.wait(ctx, "lock"); err != nil {
		return "", err
	}
	return l.locking.Lock(ctx, key, lease)
}

func (l *stalledLocks) Unlock(ctx context.Context, key, token string) (bool, error) {
	if err := l.wait(ctx, "unlock"); err != nil {
		return false, err
	}
	return l.locking.Unlock(ctx, key, token)
}

// Rule: locks that are not answered delay nobody past his context, nor anybody past
// LoadTimeout; then the keys can be loaded, and what is not given back ends by itself.
func TestManyLocksThatStall(t *testing.T) {
	eachWay(t, func(t *testing.T, over way) {
		l, _ := lockers(t, over, 0)
		s := &stalledLocks{locking: l}
		c := open(t, l.fake, func(o *secure.Options) { o.Backend, o.LoadTimeout = over(l.fake, s), 20*time.Second })
		v, keys, loads, start := secure.For[string](c), numbered(0, 40), &tally{}, time.Now()
		s.stalled.Store("lock", true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for _, tc := range []struct {
			ctx  context.Context
			want time.Duration
		}{{ctx, time.Second}, {t.Context(), 20 * time.Second}} {
			got, err := v.GetOrLoadMany(tc.ctx, keys, loads.loader(0))
			if !errors.Is(err, context.DeadlineExceeded) || len(got) != 0 || time.Since(start) != tc.want {
				t.Errorf("%d values, %v after %v, want the end after %v", len(got), err, time.Since(start), tc.want)
			}
		}
		s.stalled.Clear()
		s.stalled.Store("unlock", true)
		got, err := v.GetOrLoadMany(t.Context(), keys, loads.loader(0))
		want(t, got, err, keys)
		if len(loads.called()) != 1 || time.Since(start) != 20*time.Second {
			t.Errorf("%d loads, after %v: they are waited for", len(loads.called()), time.Since(start)-20*time.Second)
		}
		c.Close()
		if _, held := l.seen(); held != len(keys) || time.Since(start) != 25*time.Second {
			t.Errorf("Close took %v with %d locks left, want the 5 s that a release has", time.Since(start)-20*time.Second, held)
		}
	})
}

// Rule: two processes that miss the same ten thousand keys at once, in opposite order,
// load each key once, by few calls, and leave no lock.
func TestTenThousandKeysInTheFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys, loads, start := numbered(0, 10_000), &tally{}, time.Now()
		storage := memorybackend.New(nil)
		var wg sync.WaitGroup
		for i := range 2 {
			b := storage.Peer()
			c := open(t, newFake(), func(o *secure.Options) { o.Backend = b })
			wg.Go(func() {
				defer c.Close()
				mine := slices.Clone(keys)
				if i == 1 {
					slices.Reverse(mine)
				}
				got, err := secure.For[string](c).GetOrLoadMany(t.Context(), mine, loads.loader(time.Second))
				want(t, got, err, mine)
			})
		}
		wg.Wait()
		for k, n := range loads.loads() {
			if n != 1 {
				t.Errorf("%s was loaded %d times", k, n)
			}
		}
		if n := len(loads.called()); n > 2 || time.Since(start) > 1200*time.Millisecond {
			t.Errorf("%d calls of the loader, after %v", n, time.Since(start))
		}
		for i, r := range storage.LockMany(t.Context(), keys, time.Second) {
			if r.Err != nil {
				t.Fatalf("the lock of key %d is left: %v", i, r.Err)
			}
		}
	})
}

// Rule: a loader that does not return in time keeps its locks for their lease alone:
// other processes load the keys then, and what it stores later harms nobody.
func TestLoadersOfManyKeysThatIgnoreTheirContext(t *testing.T) {
	eachWay(t, func(t *testing.T, over way) {
		l, c := lockers(t, over, 0)
		other := open(t, l.fake, func(o *secure.Options) { o.Backend = over(l.fake, l) })
		defer other.Close()
		keys, start, done := numbered(0, 40), time.Now(), make(chan struct{})
		go func() {
			defer close(done)
			got, err := secure.For[string](c).GetOrLoadMany(t.Context(), keys, (&tally{}).loader(time.Minute))
			if len(got) != 0 && len(got) != len(keys) {
				t.Errorf("the late loader's caller got %d values, %v", len(got), err)
			}
		}()
		synctest.Wait()
		loads := &tally{}
		got, err := secure.For[string](other).GetOrLoadMany(t.Context(), keys, loads.loader(0))
		want(t, got, err, keys)
		if took := time.Since(start); took < 5*time.Second || took > 5200*time.Millisecond || len(loads.called()) != 1 {
			t.Errorf("%d loads after %v, want one when the lease has ended", len(loads.called()), took)
		}
		c.Close()
		<-done
		l.none(t)
	})
}
