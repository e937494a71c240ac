package secure_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/secure"
)

// manyLoader returns "new" for every key, once hold is closed, and records what it
// is asked for.
type manyLoader struct {
	hold chan struct{}
	mu   sync.Mutex
	asks [][]string
}

func (l *manyLoader) load(_ context.Context, keys []string) (map[string]string, error) {
	l.mu.Lock()
	l.asks = append(l.asks, slices.Clone(keys))
	l.mu.Unlock()
	<-l.hold
	out := map[string]string{}
	for _, k := range keys {
		out[k] = "new"
	}
	return out, nil
}

func (l *manyLoader) asked() (asks [][]string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.asks)
}

// Rule: GetOrLoadMany serves what the service serves stale, at once, and one
// process of all loads each such entry anew in the background, by the key's lease.
func TestGetOrLoadManyRevalidatesWhatTheServiceServesStale(t *testing.T) {
	for name, noL1 := range map[string]bool{"with the in-process layer": false, "without": true} {
		t.Run(name, func(t *testing.T) {
			s, _ := stale(t, nil)
			change := func(o *secure.Options) { o.NoL1 = noL1 }
			caches := []*secure.Cache{openIO(t, s, change), openIO(t, s, change)}
			if err := caches[0].Set(t.Context(), "fresh", "fresh"); err != nil {
				t.Fatal(err)
			}
			l := &manyLoader{hold: make(chan struct{})}
			var wg sync.WaitGroup
			for _, c := range caches {
				for range 8 {
					wg.Go(func() {
						got, err := secure.For[string](c).GetOrLoadMany(t.Context(), []string{"k", "fresh"}, l.load)
						if err != nil || !maps.Equal(got, map[string]string{"k": "old", "fresh": "fresh"}) {
							t.Errorf("got %v, %v, want the stale and the fresh value", got, err)
						}
					})
				}
			}
			wg.Wait() // nobody waits for the loader, which hangs
			eventually(t, "the load", func() bool { return len(l.asked()) > 0 })
			eventually(t, "the other's attempt", func() bool { return count(s, "POST", "lock") >= 2 })
			close(l.hold)
			eventually(t, "the release of the lock", func() bool { return count(s, "DELETE", "lock") >= 1 })
			if asks := l.asked(); len(asks) != 1 || !slices.Equal(asks[0], []string{"k"}) {
				t.Errorf("the loader was asked for %v, want k once", asks)
			}
			for _, c := range caches {
				if got, err := secure.For[string](c).GetOrLoadMany(t.Context(), []string{"k"}, l.load); got["k"] != "new" || err != nil {
					t.Errorf("after the load: %v, %v", got, err)
				}
			}
		})
	}
}

// Rule: background loads are bounded, however many entries of a batch are stale.
func TestGetOrLoadManyBoundsItsRevalidations(t *testing.T) {
	const keys, bound = 200, 64 // flight.DefaultMaxBackground
	s, c := stale(t, nil)
	values, names := map[string]string{}, []string(nil)
	for i := range keys {
		names = append(names, fmt.Sprint("k", i))
		values[names[i]] = "old"
	}
	if err := secure.For[string](openIO(t, s, nil)).SetMany(t.Context(), values); err != nil {
		t.Fatal(err)
	}
	s.Advance(time.Hour + time.Minute)
	l := &manyLoader{hold: make(chan struct{})}
	for range 3 {
		if got, err := secure.For[string](c).GetOrLoadMany(t.Context(), names, l.load); len(got) != keys || err != nil {
			t.Fatalf("%d entries, %v", len(got), err)
		}
	}
	eventually(t, "as many loads as may run", func() bool { return len(l.asked()) == bound })
	close(l.hold)
	eventually(t, "everything fresh", func() bool {
		got, err := secure.For[string](c).GetOrLoadMany(t.Context(), names, l.load)
		return err == nil && !slices.Contains(slices.Collect(maps.Values(got)), "old")
	})
	if n := len(l.asked()); n != keys {
		t.Errorf("%d loads ran, want %d", n, keys)
	}
}

// Rule: a loader that fails leaves the stale entry to be served; without
// StaleWhileRevalidate a stale entry is a miss; GetMany serves it and loads nothing.
func TestStaleEntriesOfBatches(t *testing.T) {
	s, c := stale(t, nil)
	failing := func(context.Context, []string) (map[string]string, error) {
		return nil, errors.New("the origin is down")
	}
	if got, err := secure.For[string](c).GetOrLoadMany(t.Context(), []string{"k"}, failing); got["k"] != "old" || err != nil {
		t.Errorf("with a loader that fails: %v, %v", got, err)
	}
	eventually(t, "the failure", func() bool { return c.Stats().RefreshFailures == 1 && count(s, "DELETE", "lock") == 1 })
	if got, err := secure.For[string](c).GetMany(t.Context(), []string{"k"}); got["k"] != "old" || err != nil {
		t.Errorf("GetMany: %v, %v", got, err)
	}
	if n := count(s, "POST", "lock"); n != 1 {
		t.Errorf("%d leases were asked for, want 1: GetMany has no loader", n)
	}
	l := &manyLoader{hold: make(chan struct{})}
	close(l.hold)
	off := openIO(t, s, func(o *secure.Options) { o.StaleWhileRevalidate = secure.Off })
	if got, err := secure.For[string](off).GetOrLoadMany(t.Context(), []string{"k"}, l.load); got["k"] != "new" || err != nil {
		t.Errorf("with StaleWhileRevalidate off: %v, %v, want the loaded value", got, err)
	}
}
