package secure_test

import (
	"context"
	"errors"
	"maps"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/testenv"
	"github.com/cachekit-io/cachekit-go/secure"
)

// Rule: of all processes that miss overlapping sets of keys at once, one loads each
// key; none waits for another in a circle, and no loader runs twice at a time.
func TestOneLoadOfEachKeyInTheFleet(t *testing.T) {
	eachWay(t, func(t *testing.T, over way) {
		l, first := lockers(t, over, 0)
		defer first.Close()
		fleet := []*secure.Cache{first}
		for range 7 {
			c := open(t, l.fake, func(o *secure.Options) { o.Backend, o.NoL1 = over(l.fake, l), len(fleet)%2 == 0 })
			defer c.Close()
			fleet = append(fleet, c)
		}
		loads := &tally{}
		start := time.Now()
		var wg sync.WaitGroup
		for i, c := range fleet {
			wg.Go(func() {
				keys := numbered(10*i, 10*i+60)
				if i%2 == 1 {
					slices.Reverse(keys)
				}
				var busy sync.Mutex
				load := loads.loader(time.Second)
				got, err := secure.For[string](c).GetOrLoadMany(t.Context(), keys, func(ctx context.Context, missing []string) (map[string]string, error) {
					if !busy.TryLock() {
						t.Error("the loader of one call runs twice at a time")
					}
					defer busy.Unlock()
					return load(ctx, missing)
				})
				want(t, got, err, keys)
			})
		}
		wg.Wait()
		if took := time.Since(start); took > 1500*time.Millisecond {
			t.Errorf("the fleet took %v for loads of a second", took)
		}
		for key, n := range loads.loads() {
			if n != 1 {
				t.Errorf("%s was loaded %d times", key, n)
			}
		}
		if n := len(loads.called()); n > len(fleet) {
			t.Errorf("%d calls of the loader by %d processes", n, len(fleet))
		}
		l.none(t)
	})
}

// Rule: what others hold is waited for until its lease ends and then loaded by one
// call; what is free is loaded meanwhile, and who wants that alone waits no longer.
func TestHoldersOfManyKeysDie(t *testing.T) {
	eachWay(t, func(t *testing.T, over way) {
		dead, free := numbered(0, 60), numbered(60, 80)
		l, c := lockers(t, over, 5*time.Second, dead...)
		defer c.Close()
		v, loads, start := secure.For[string](c), &tally{}, time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			got, err := v.GetOrLoadMany(t.Context(), slices.Concat(dead, free), loads.loader(time.Second))
			want(t, got, err, slices.Concat(dead, free))
			if took := time.Since(start); took < 6*time.Second || took > 6200*time.Millisecond {
				t.Errorf("took %v, want the lease of 5 s and the load of 1 s", took)
			}
		})
		synctest.Wait()
		if got, err := v.GetOrLoad(t.Context(), free[0], nil); got != "of "+free[0] || err != nil || time.Since(start) > time.Second {
			t.Errorf("%q, %v after %v, want it as soon as it is loaded", got, err, time.Since(start))
		}
		wg.Wait()
		if calls := loads.called(); len(calls) != 2 || !slices.Equal(calls[0], free) || !slices.Equal(calls[1], dead) {
			t.Errorf("the loader was asked for %v", calls)
		}
		l.none(t)
	})
}

// Rule: locks that nobody gives back delay a batch for ten seconds at most, by few
// attempts; then one call loads the rest, and leaves the locks alone.
func TestLocksOfManyKeysThatNobodyGivesBack(t *testing.T) {
	eachWay(t, func(t *testing.T, over way) {
		keys := numbered(0, 100)
		l, c := lockers(t, over, time.Hour, keys[:90]...)
		defer c.Close()
		loads, start := &tally{}, time.Now()
		got, err := secure.For[string](c).GetOrLoadMany(t.Context(), keys, loads.loader(0))
		want(t, got, err, keys)
		if took := time.Since(start); took < 10*time.Second || took > 10200*time.Millisecond {
			t.Errorf("took %v, want 10s", took)
		}
		if calls := loads.called(); len(calls) != 2 || !slices.Equal(calls[0], keys[90:]) || !slices.Equal(calls[1], keys[:90]) {
			t.Errorf("the loader was asked for %v", calls)
		}
		synctest.Wait()
		if tries, held := l.seen(); tries > 100+16*130 || held != 90 {
			t.Errorf("%d tries in 10 s, %d of 90 locks are there", tries, held)
		}
	})
}

// Rule: a caller's context ends its own wait, Close the load's.
func TestTheEndOfWaitsForManyLocks(t *testing.T) {
	eachWay(t, func(t *testing.T, over way) {
		l, c := lockers(t, over, time.Hour, "held")
		v, loads, start := secure.For[string](c), &tally{}, time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		got, err := v.GetOrLoadMany(ctx, []string{"held", "free"}, loads.loader(0))
		if !errors.Is(err, context.DeadlineExceeded) || got["free"] != "of free" || time.Since(start) != time.Second {
			t.Errorf("a caller with a deadline got %v, %v after %v", got, err, time.Since(start))
		}
		done := make(chan error, 1)
		go func() { _, err := v.GetOrLoad(context.Background(), "held", nil); done <- err }()
		synctest.Wait()
		c.Close()
		if err := <-done; !errors.Is(err, context.Canceled) || time.Since(start) != time.Second {
			t.Errorf("after Close: %v after %v", err, time.Since(start))
		}
		if _, held := l.seen(); held != 1 || len(loads.called()) != 1 {
			t.Errorf("%d locks are left, want the other's; the loader was asked for %v", held, loads.called())
		}
	})
}

// Rule: however a loader ends, its locks are given back and the keys can be loaded
// again at once, by every process.
func TestLoadersOfManyKeysThatFail(t *testing.T) {
	mine := errors.New("mine")
	for name, end := range map[string]func() error{
		"error":  func() error { return mine },
		"panic":  func() error { panic("x") },
		"Goexit": func() error { runtime.Goexit(); return nil },
	} {
		eachWay(t, func(t *testing.T, over way) {
			l, c := lockers(t, over, 0)
			defer c.Close()
			keys, loads := numbered(0, 40), &tally{}
			got, err := secure.For[string](c).GetOrLoadMany(t.Context(), keys, func(context.Context, []string) (map[string]string, error) { return nil, end() })
			if err == nil || len(got) != 0 || name == "error" && !errors.Is(err, mine) {
				t.Errorf("%s: %v, %v", name, got, err)
			}
			l.none(t)
			other := open(t, l.fake, func(o *secure.Options) { o.Backend = over(l.fake, l) })
			defer other.Close()
			start := time.Now()
			got, err = secure.For[string](other).GetOrLoadMany(t.Context(), keys, loads.loader(0))
			if want(t, got, err, keys); time.Since(start) != 0 || len(loads.called()) != 1 {
				t.Errorf("%s: then %v, %v", name, time.Since(start), loads.called())
			}
		})
	}
}

// Rule: an absent value is not stored, so each process finds out for itself; those
// that wait for it find the others' values stored.
func TestNegativeResultsOfManyKeysInTheFleet(t *testing.T) {
	eachWay(t, func(t *testing.T, over way) {
		l, c := lockers(t, over, 0)
		defer c.Close()
		other := open(t, l.fake, func(o *secure.Options) { o.Backend = over(l.fake, l) })
		defer other.Close()
		loads := &tally{}
		load := loads.loader(time.Second)
		var wg sync.WaitGroup
		for _, c := range []*secure.Cache{c, other} {
			wg.Go(func() {
				got, err := secure.For[string](c).GetOrLoadMany(t.Context(), []string{"a", "none", "b"}, func(ctx context.Context, missing []string) (map[string]string, error) {
					out, err := load(ctx, missing)
					delete(out, "none")
					return out, err
				})
				var batch *secure.BatchError
				if len(got) != 2 || !errors.As(err, &batch) || len(batch.Errors()) != 1 || !errors.Is(batch.Errors()["none"], secure.ErrAbsent) {
					t.Errorf("got %v, %v", got, err)
				}
			})
		}
		wg.Wait()
		if n := loads.loads(); n["a"] != 1 || n["b"] != 1 || n["none"] != 2 {
			t.Errorf("loads: %v", n)
		}
		l.none(t)
	})
}

// meddling has something happen to an entry between the miss and the lock.
type meddling struct {
	*locking
	meddle func(key string)
}

func (l *meddling) Lock(ctx context.Context, key string, lease time.Duration) (string, error) {
	l.meddle(key)
	return l.locking.Lock(ctx, key, lease)
}

// Rule: what is stored between the miss and the lock is not loaded; what is there
// then and fails authentication is an error, as it is without locks.
func TestManyKeysAreReadUnderTheirLocks(t *testing.T) {
	for _, noL1 := range []bool{false, true} {
		eachWay(t, func(t *testing.T, over way) {
			l, writer := lockers(t, over, 0)
			defer writer.Close()
			m := &meddling{l, func(key string) {
				switch key {
				case "stored":
					writer.Set(context.Background(), key, "of stored")
				case "forged":
					l.plant(key, []byte("forged"))
				}
			}}
			c := open(t, l.fake, func(o *secure.Options) { o.Backend, o.NoL1 = over(l.fake, m), noL1 })
			defer c.Close()
			loads := &tally{}
			got, err := secure.For[string](c).GetOrLoadMany(t.Context(), []string{"stored", "forged", "missing"}, loads.loader(0))
			var batch *secure.BatchError
			if !maps.Equal(got, map[string]string{"stored": "of stored", "missing": "of missing"}) || !errors.As(err, &batch) || !errors.Is(batch.Errors()["forged"], secure.ErrAuth) {
				t.Errorf("got %v, %v", got, err)
			}
			if calls := loads.called(); len(calls) != 1 || !slices.Equal(calls[0], []string{"missing"}) {
				t.Errorf("the loader was asked for %v", calls)
			}
			before := l.readCount()
			if found, err := c.Get(t.Context(), "stored", new(string)); !found || err != nil || (l.readCount() == before) == noL1 {
				t.Errorf("Get: %v, %v, by %d reads", found, err, l.readCount()-before)
			}
			l.none(t)
		})
	}
}

// Rule: a load within a load of the same key does not wait for its lock, which the
// outer one has.
func TestLoadsWithinLoadsTakeNoLocks(t *testing.T) {
	eachWay(t, func(t *testing.T, over way) {
		l, c := lockers(t, over, 0)
		defer c.Close()
		v, start := secure.For[string](c), time.Now()
		inner := func(context.Context) (string, error) { return "inner", nil }
		many := func(ctx context.Context, keys []string) (map[string]string, error) {
			return v.GetOrLoadMany(ctx, keys, func(_ context.Context, keys []string) (map[string]string, error) {
				return map[string]string{"a": "inner", "b": "inner"}, nil
			})
		}
		got, err := v.GetOrLoad(t.Context(), "k", func(ctx context.Context) (string, error) { return v.GetOrLoad(ctx, "k", inner) })
		batch, manyErr := v.GetOrLoadMany(t.Context(), []string{"a", "b"}, many)
		if got != "inner" || err != nil || batch["a"] != "inner" || len(batch) != 2 || manyErr != nil || time.Since(start) != 0 {
			t.Errorf("%q, %v; %v, %v after %v", got, err, batch, manyErr, time.Since(start))
		}
		l.none(t)
	})
}

// Rule: without locks a batch costs one read of each key.
func TestManyKeysWithoutLocks(t *testing.T) {
	for name, change := range map[string]func(*locking, *secure.Options){
		"switched off":            func(l *locking, o *secure.Options) { o.Backend, o.FillLock = l, secure.Off },
		"a backend that has none": func(*locking, *secure.Options) {},
	} {
		l, _ := lockers(t, oneByOne, time.Hour, "k000")
		c := open(t, l.fake, func(o *secure.Options) { change(l, o) })
		keys, loads := numbered(0, 10), &tally{}
		got, err := secure.For[string](c).GetOrLoadMany(t.Context(), keys, loads.loader(0))
		want(t, got, err, keys)
		if tries, _ := l.seen(); tries != 0 || l.readCount() != 10 || len(loads.called()) != 1 {
			t.Errorf("%s: %d tries of locks, %d reads, %d calls of the loader", name, tries, l.readCount(), len(loads.called()))
		}
	}
}

// Rule: two processes that miss overlapping sets of 100 keys at once on a Redis load
// each key once.
func TestOneLoadOfEachKeyOnRedis(t *testing.T) {
	s := testenv.Redis(t, nil)
	fleet := []*secure.Cache{overRedis(t, "secure", s.URL(), 5*time.Second), overRedis(t, "minimal", s.URL(), 5*time.Second)}
	loads := &tally{}
	for round := range 20 {
		start := make(chan struct{})
		var wg sync.WaitGroup
		for i, c := range fleet {
			wg.Go(func() {
				keys := numbered(1000*round+50*i, 1000*round+50*i+100)
				<-start
				got, err := secure.For[string](c).GetOrLoadMany(t.Context(), keys, loads.loader(20*time.Millisecond))
				want(t, got, err, keys)
			})
		}
		close(start)
		wg.Wait()
	}
	n := loads.loads()
	if len(n) != 20*150 {
		t.Errorf("%d keys were loaded, want %d", len(n), 20*150)
	}
	for key, n := range n {
		if n != 1 {
			t.Errorf("%s was loaded %d times", key, n)
		}
	}
	for _, c := range fleet {
		c.Close()
	}
	if left, ok := s.Do("KEYS", "*:lock").([]any); !ok || len(left) != 0 {
		t.Errorf("locks are left: %v", left)
	}
}
