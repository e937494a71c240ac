package secure_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/secure"
)

func TestStaleEntriesAreServedWhileOneRefreshRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, l1Only := range map[string]bool{"with a backend": false, "in the process only": true} {
			f := newFake()
			c := open(t, f, func(o *secure.Options) {
				if l1Only {
					o.Backend, o.L1Only = nil, true
				}
			})
			v := secure.For[string](c)
			var loads atomic.Int32
			load := func(context.Context) (string, error) {
				time.Sleep(time.Second)
				return fmt.Sprint("v", loads.Add(1)), nil
			}
			get := func() string {
				t.Helper()
				got, err := v.GetOrLoad(t.Context(), "k", load)
				if err != nil {
					t.Fatal(err)
				}
				return got
			}
			get()
			time.Sleep(600 * time.Second * 45 / 100) // fresh for half its TTL, less a tenth at most
			if got := get(); got != "v1" || loads.Load() != 1 {
				t.Errorf("%s: still fresh: got %s after %d loads", name, got, loads.Load())
			}
			time.Sleep(600*time.Second*10/100 + time.Second)
			for range 50 {
				start := time.Now()
				if got := get(); got != "v1" || time.Since(start) > 0 {
					t.Errorf("%s: stale: got %s after waiting %v", name, got, time.Since(start))
				}
			}
			time.Sleep(2 * time.Second)
			if got := get(); got != "v2" || loads.Load() != 2 {
				t.Errorf("%s: refreshed: got %s after %d loads, want v2 after 2", name, got, loads.Load())
			}
			c.Close()
		}
	})
}

func TestStaleEntriesEndWithTheirTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, newFake(), nil)
		defer c.Close()
		v := secure.For[string](c)
		fail := func(context.Context) (string, error) { return "", fmt.Errorf("the origin is down") }
		if err := c.Set(t.Context(), "k", "old"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(599 * time.Second)
		if got, err := v.GetOrLoad(t.Context(), "k", fail); got != "old" || err != nil {
			t.Errorf("within its TTL: %q, %v", got, err)
		}
		synctest.Wait()
		if c.Stats().RefreshFailures != 1 {
			t.Error("the failed refresh was not counted")
		}
		time.Sleep(time.Second)
		if got, err := v.GetOrLoad(t.Context(), "k", fail); err == nil {
			t.Errorf("past its TTL: got %q", got)
		}
	})
}

func TestMinimalDoesNotServeStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tc := range []struct {
			sw   secure.Switch
			want int
		}{{0, 1}, {secure.On, 2}, {secure.Off, 1}} {
			c, err := secure.NewMinimal(t.Context(), &secure.Options{Backend: newFake(), MasterKey: key(t, "1"), StaleWhileRevalidate: tc.sw})
			if err != nil {
				t.Fatal(err)
			}
			var loads atomic.Int32
			load := func(context.Context) (int, error) { return int(loads.Add(1)), nil }
			v := secure.For[int](c)
			v.GetOrLoad(t.Context(), "k", load)
			time.Sleep(200 * time.Second)
			v.GetOrLoad(t.Context(), "k", load)
			synctest.Wait()
			if int(loads.Load()) != tc.want {
				t.Errorf("switch %d: %d loads, want %d", tc.sw, loads.Load(), tc.want)
			}
			c.Close()
		}
	})
}

// Another process may have refreshed the entry already: then the loader does
// not run again.
func TestRefreshAsksTheBackendFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		a, b := open(t, f, nil), open(t, f, nil)
		defer a.Close()
		defer b.Close()
		if err := a.Set(t.Context(), "k", "old"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(400 * time.Second)
		if err := b.Set(t.Context(), "k", "new"); err != nil {
			t.Fatal(err)
		}
		load := func(context.Context) (string, error) { t.Error("the loader ran"); return "", nil }
		v := secure.For[string](a)
		v.GetOrLoad(t.Context(), "k", load)
		synctest.Wait()
		if got, _ := v.GetOrLoad(t.Context(), "k", load); got != "new" {
			t.Errorf("got %q, want what the other process wrote", got)
		}
	})
}

func TestReadCopiesLiveShortly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		writer, reader := open(t, f, nil), open(t, f, nil)
		defer writer.Close()
		defer reader.Close()
		get := func() (out string) {
			t.Helper()
			if _, err := reader.Get(t.Context(), "k", &out); err != nil {
				t.Fatal(err)
			}
			return out
		}
		writer.Set(t.Context(), "k", "one")
		get()
		writer.Set(t.Context(), "k", "two")
		time.Sleep(30*time.Second - 1)
		if got := get(); got != "one" {
			t.Errorf("no copy was made: got %s", got)
		}
		time.Sleep(time.Nanosecond)
		if got := get(); got != "two" {
			t.Errorf("the copy outlives L1BackfillTTL: got %s", got)
		}
		writer.SetTTL(t.Context(), "k", "brief", time.Second)
		time.Sleep(30 * time.Second)
		if out := get(); out != "" {
			t.Errorf("an expired entry is served: %s", out)
		}
	})
}

// The last explicit write wins over every load and refresh of the process, in
// the backend and in memory (USERS.md, feature 9).
func TestExplicitWritesWinOverLoads(t *testing.T) {
	const rounds = 1000
	ring, err := keys.NewKeyring(key(t, "1"))
	if err != nil {
		t.Fatal(err)
	}
	f := newFake()
	f.fault = func(string, string) error { time.Sleep(time.Duration(rand.IntN(20)) * time.Microsecond); return nil } // a round trip
	c := open(t, f, func(o *secure.Options) { o.MasterKey, o.Keyring = keys.MasterKey{}, ring })
	v := secure.For[int](c)
	for round := range rounds {
		k := fmt.Sprint(round % 7)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				v.GetOrLoad(t.Context(), k, func(context.Context) (int, error) {
					time.Sleep(time.Duration(rand.IntN(60)) * time.Microsecond)
					return -round, nil
				})
			})
		}
		wg.Go(func() {
			v.GetOrLoadMany(t.Context(), []string{k}, func(_ context.Context, missing []string) (map[string]int, error) {
				time.Sleep(time.Duration(rand.IntN(60)) * time.Microsecond)
				return map[string]int{k: -round}, nil
			})
		})
		time.Sleep(time.Duration(rand.IntN(40)) * time.Microsecond)
		deleted := round%3 == 0
		if deleted {
			_, err = c.Delete(t.Context(), k)
		} else {
			err = c.Set(t.Context(), k, round)
		}
		if err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		// A load that began after the explicit write may store its value over a
		// deletion; over a Set it finds the value and does not load.
		var inMemory, stored int
		c.Get(t.Context(), k, &inMemory)
		fresh := open(t, f, nil)
		fresh.Get(t.Context(), k, &stored)
		if !deleted && (inMemory != round || stored != round) {
			t.Fatalf("round %d: memory has %d, the backend %d", round, inMemory, stored)
		}
		if inMemory != stored {
			t.Fatalf("round %d: memory has %d, the backend %d", round, inMemory, stored)
		}
		fresh.Close()
		c.Delete(t.Context(), k)
	}
}
