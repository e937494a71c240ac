package flight_test

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/flight"
)

func TestManyKeysShareLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := flight.New[string](nil)
		defer g.Close()
		load := func(who string) flight.Loader[string] {
			return func(_ context.Context, keys []string, settle func(int, flight.Outcome[string])) {
				time.Sleep(time.Second)
				for i, k := range keys {
					settle(i, flight.Outcome[string]{Value: who + k})
				}
			}
		}
		go g.DoMany(t.Context(), []string{"a", "b"}, func(string) {}, load("first "))
		synctest.Wait()
		led := ""
		got := g.DoMany(t.Context(), []string{"b", "c"}, func(key string) { led += key }, load("second "))
		if led != "c" {
			t.Errorf("led %q, want c alone", led)
		}
		if got[0].Value != "first b" || got[1].Value != "second c" {
			t.Errorf("got %v", got)
		}
		for _, o := range g.DoMany(t.Context(), []string{"a", "b"}, func(string) {}, func(context.Context, []string, func(int, flight.Outcome[string])) { panic("x") }) {
			var p *flight.PanicError
			if !errors.As(o.Err, &p) {
				t.Errorf("a panic gave %v", o.Err)
			}
		}
		v, _, err := g.Do(t.Context(), "a", func(ctx context.Context) (string, error) {
			inner := g.DoMany(ctx, []string{"a", "d"}, func(string) {}, load("inner "))
			return inner[0].Value + ", " + inner[1].Value, nil
		})
		if v != "inner a, inner d" || err != nil {
			t.Errorf("re-entrant: got %q, %v", v, err)
		}
	})
}

// However a load of several keys ends, each of them has an outcome and can be
// loaded again; those that it had settled keep theirs.
func TestManyLoadsThatDoNotReturn(t *testing.T) {
	g := flight.New[int](nil)
	defer g.Close()
	keys := []string{"a", "b", "c"}
	for name, end := range map[string]func(settle func(int, flight.Outcome[int])){
		"panic":         func(func(int, flight.Outcome[int])) { panic("x") },
		"Goexit":        func(func(int, flight.Outcome[int])) { runtime.Goexit() },
		"too few":       func(func(int, flight.Outcome[int])) {},
		"no such index": func(settle func(int, flight.Outcome[int])) { settle(3, flight.Outcome[int]{}) },
	} {
		load := func(_ context.Context, _ []string, settle func(int, flight.Outcome[int])) {
			settle(1, flight.Outcome[int]{Value: 7})
			settle(1, flight.Outcome[int]{Value: 8})
			end(settle)
		}
		for i, o := range g.DoMany(t.Context(), keys, func(string) {}, load) {
			if settled := i == 1; settled != (o.Err == nil) || settled && o.Value != 7 {
				t.Errorf("%s: %s has %d, %v", name, keys[i], o.Value, o.Err)
			}
		}
		for _, key := range keys {
			if v, shared, err := g.Do(t.Context(), key, func(context.Context) (int, error) { return 1, nil }); v != 1 || shared || err != nil {
				t.Errorf("%s: the key is poisoned: %v", name, err)
			}
		}
	}
}

// Who waits for one of the keys goes on when that is settled; Close waits for the
// whole load.
func TestManySettleOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := flight.New[int](nil)
		ended := false
		go g.DoMany(t.Context(), []string{"a", "b"}, func(string) {}, func(_ context.Context, _ []string, settle func(int, flight.Outcome[int])) {
			for i := range 2 {
				time.Sleep(time.Second)
				settle(i, flight.Outcome[int]{Value: i})
			}
			time.Sleep(time.Second)
			ended = true
		})
		synctest.Wait()
		start := time.Now()
		for i, key := range []string{"a", "b"} {
			v, shared, err := g.Do(t.Context(), key, nil)
			if took := time.Since(start); v != i || !shared || err != nil || took != time.Duration(i+1)*time.Second {
				t.Errorf("%s: %d, %v after %v", key, v, err, took)
			}
		}
		if g.Close(); !ended {
			t.Error("Close did not wait for the load")
		}
	})
}

// A caller whose context ends still gets what has been loaded.
func TestManyKeepsWhatThereIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := flight.New[int](nil)
		defer g.Close()
		go g.Do(t.Context(), "slow", func(context.Context) (int, error) { time.Sleep(20 * time.Second); return 1, nil })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		keys := []string{"slow"}
		for i := range 20 {
			keys = append(keys, string(rune('a'+i)))
		}
		out := g.DoMany(ctx, keys, func(string) {}, func(_ context.Context, keys []string, settle func(int, flight.Outcome[int])) {
			for i := range keys {
				settle(i, flight.Outcome[int]{})
			}
		})
		for i, o := range out {
			if i == 0 && !errors.Is(o.Err, context.DeadlineExceeded) || i > 0 && o.Err != nil {
				t.Errorf("%s: %v", keys[i], o.Err)
			}
		}
	})
}

// Rule: what a load of many keys keeps for loads of many keys within it grows with
// their sum, not with their product.
func TestLargeBatchesWithinLargeOnes(t *testing.T) {
	g := flight.New[int](nil)
	defer g.Close()
	const n = 3000
	keys := make([]string, 2*n)
	for i := range keys {
		keys[i] = strconv.Itoa(i)
	}
	all := func(ctx context.Context, keys []string, settle func(int, flight.Outcome[int])) {
		for i := range keys {
			settle(i, flight.Outcome[int]{Value: 1})
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i, o := range g.DoMany(t.Context(), keys[:n], func(string) {}, func(ctx context.Context, keys2 []string, settle func(int, flight.Outcome[int])) {
		for _, inner := range [][]string{keys[n:], keys[:n]} {
			for i, o := range g.DoMany(ctx, inner, func(string) {}, all) {
				if o.Value != 1 || o.Err != nil {
					t.Errorf("inner key %d: %+v", i, o)
				}
			}
		}
		all(ctx, keys2, settle)
	}) {
		if o.Value != 1 || o.Err != nil {
			t.Errorf("key %d: %+v", i, o)
		}
	}
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) >> 20; got > 32 {
		t.Errorf("%d MiB were allocated for batches of %d keys", got, n)
	}
}
