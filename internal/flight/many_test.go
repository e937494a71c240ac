package flight_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/flight"
)

func TestManyKeysShareLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := flight.New[string](nil)
		defer g.Close()
		load := func(who string) func(context.Context, []string) []flight.Outcome[string] {
			return func(_ context.Context, keys []string) (out []flight.Outcome[string]) {
				time.Sleep(time.Second)
				for _, k := range keys {
					out = append(out, flight.Outcome[string]{Value: who + k})
				}
				return out
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
		for _, o := range g.DoMany(t.Context(), []string{"a", "b"}, func(string) {}, func(context.Context, []string) []flight.Outcome[string] { panic("x") }) {
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
// loaded again.
func TestManyLoadsThatDoNotReturn(t *testing.T) {
	g := flight.New[int](nil)
	defer g.Close()
	keys := []string{"a", "b", "c"}
	for name, load := range map[string]func(context.Context, []string) []flight.Outcome[int]{
		"panic":             func(context.Context, []string) []flight.Outcome[int] { panic("x") },
		"Goexit":            func(context.Context, []string) []flight.Outcome[int] { runtime.Goexit(); return nil },
		"too few outcomes":  func(context.Context, []string) []flight.Outcome[int] { return make([]flight.Outcome[int], 2) },
		"too many outcomes": func(context.Context, []string) []flight.Outcome[int] { return make([]flight.Outcome[int], 4) },
	} {
		for i, o := range g.DoMany(t.Context(), keys, func(string) {}, load) {
			if o.Err == nil {
				t.Errorf("%s: %s has no error", name, keys[i])
			}
		}
		for _, key := range keys {
			if v, shared, err := g.Do(t.Context(), key, func(context.Context) (int, error) { return 1, nil }); v != 1 || shared || err != nil {
				t.Errorf("%s: the key is poisoned: %v", name, err)
			}
		}
	}
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
		out := g.DoMany(ctx, keys, func(string) {}, func(_ context.Context, keys []string) []flight.Outcome[int] {
			return make([]flight.Outcome[int], len(keys))
		})
		for i, o := range out {
			if i == 0 && !errors.Is(o.Err, context.DeadlineExceeded) || i > 0 && o.Err != nil {
				t.Errorf("%s: %v", keys[i], o.Err)
			}
		}
	})
}
