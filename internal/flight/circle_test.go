package flight_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/flight"
)

func TestReentrantLoadsDoNotWaitForThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := flight.New[string](nil)
		defer g.Close()
		got, _, err := g.Do(t.Context(), "a", func(ctx context.Context) (string, error) {
			b, _, err := g.Do(ctx, "b", func(ctx context.Context) (string, error) {
				a, _, err := g.Do(ctx, "a", func(inner context.Context) (string, error) {
					if flight.Nested(ctx) || !flight.Nested(inner) {
						t.Errorf("nested: %t, and the load of the same key: %t", flight.Nested(ctx), flight.Nested(inner))
					}
					return "inner a", nil
				})
				return "b of " + a, err
			})
			return "a of " + b, err
		})
		if got != "a of b of inner a" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

// Two loads that are under way ask for each other's key: neither waits for the
// other.
func TestLoadsDoNotWaitInACircle(t *testing.T) {
	for _, many := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			g := flight.New[string](nil)
			defer g.Close()
			ask := func(ctx context.Context, key string) (string, error) {
				load := func(context.Context) (string, error) { return "inner " + key, nil }
				if !many {
					v, _, err := g.Do(ctx, key, load)
					return v, err
				}
				out := g.DoMany(ctx, []string{key}, func(string) {}, func(ctx context.Context, _ []string, settle func(int, flight.Outcome[string])) {
					v, err := load(ctx)
					settle(0, flight.Outcome[string]{Value: v, Err: err})
				})
				return out[0].Value, out[0].Err
			}
			start := time.Now()
			for key, other := range map[string]string{"a": "b", "b": "c", "c": "a"} {
				go func() {
					_, _, err := g.Do(t.Context(), key, func(ctx context.Context) (string, error) {
						time.Sleep(time.Second)
						return ask(ctx, other)
					})
					if err != nil || time.Since(start) != time.Second {
						t.Errorf("%s: %v after %v", key, err, time.Since(start))
					}
				}()
			}
			synctest.Wait()
			time.Sleep(time.Minute)
		})
	}
}

// A loader that asks for its own key for ever gets an error, not a stack that
// overflows.
func TestRecursionEnds(t *testing.T) {
	g := flight.New[int](nil)
	defer g.Close()
	depth := 0
	var load func(ctx context.Context) (int, error)
	load = func(ctx context.Context) (int, error) {
		depth++
		v, _, err := g.Do(ctx, "k", load)
		return v, err
	}
	if _, _, err := g.Do(t.Context(), "k", load); !errors.Is(err, flight.ErrRecursive) || depth != 2 {
		t.Errorf("got %v at depth %d", err, depth)
	}
	leads, loads := 0, 0
	var many flight.Loader[int]
	many = func(ctx context.Context, keys []string, settle func(int, flight.Outcome[int])) {
		loads += len(keys)
		for i, o := range g.DoMany(ctx, keys, func(string) { leads++ }, many) {
			settle(i, o)
		}
	}
	for _, o := range g.DoMany(t.Context(), []string{"a", "b"}, func(string) { leads++ }, many) {
		if !errors.Is(o.Err, flight.ErrRecursive) {
			t.Errorf("got %v", o.Err)
		}
	}
	if leads != loads {
		t.Errorf("lead was called for %d keys, load with %d", leads, loads)
	}
}

// A background load that a load started is not part of it: it waits for it.
func TestBackgroundLoadsWaitForTheLoadThatStartedThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := flight.New[string](nil)
		defer g.Close()
		result := make(chan string, 1)
		g.Do(t.Context(), "a", func(ctx context.Context) (string, error) {
			g.Go(ctx, "b", func(ctx context.Context) (string, error) {
				v, _, err := g.Do(ctx, "a", func(context.Context) (string, error) { return "a of its own", nil })
				result <- v
				return v, err
			})
			time.Sleep(time.Second)
			return "shared a", nil
		})
		if v := <-result; v != "shared a" {
			t.Errorf("the background load got %q", v)
		}
	})
}

// A panic in a load that runs within another is an error to the latter.
func TestNestedPanicsAreErrors(t *testing.T) {
	g := flight.New[int](nil)
	defer g.Close()
	v, _, err := g.Do(t.Context(), "k", func(ctx context.Context) (int, error) {
		_, _, err := g.Do(ctx, "k", func(context.Context) (int, error) { panic("inner") })
		if p, ok := errors.AsType[*flight.PanicError](err); !ok || p.Value != "inner" {
			t.Errorf("got %v", err)
		}
		return 1, nil
	})
	if v != 1 || err != nil {
		t.Errorf("got %d, %v", v, err)
	}
}

// Who has stopped waiting is not part of a circle.
func TestLoadsThatGaveUpAreWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := flight.New[string](nil)
		defer g.Close()
		own := func(context.Context) (string, error) { return "of its own", nil }
		go g.Do(t.Context(), "a", func(ctx context.Context) (string, error) {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			g.Do(ctx, "b", own)
			time.Sleep(5 * time.Second)
			return "shared a", nil
		})
		v, _, err := g.Do(t.Context(), "b", func(ctx context.Context) (string, error) {
			time.Sleep(2 * time.Second)
			v, _, err := g.Do(ctx, "a", own)
			return v, err
		})
		if v != "shared a" || err != nil {
			t.Errorf("got %q, %v", v, err)
		}
	})
}

// Loads of several keys that are under way ask for each other's keys, by whichever
// of theirs: they do not wait for each other in a circle.
func TestBatchesDoNotWaitInACircle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := flight.New[string](nil)
		defer g.Close()
		start := time.Now()
		for own, other := range map[string]string{"a": "b", "b": "c", "c": "a"} {
			go func() {
				outer := func(ctx context.Context, keys []string, settle func(int, flight.Outcome[string])) {
					time.Sleep(time.Second)
					settle(0, flight.Outcome[string]{Value: "first"}) // the others wait for the second
					inner := func(_ context.Context, keys []string, settle func(int, flight.Outcome[string])) {
						for i := range keys {
							settle(i, flight.Outcome[string]{Value: "inner"})
						}
					}
					for i, o := range g.DoMany(ctx, []string{other + "2", other + "3"}, func(string) {}, inner) {
						if o.Err != nil {
							t.Errorf("%s, inner key %d: %v", own, i, o.Err)
						}
					}
					time.Sleep(time.Second)
					for i := range keys {
						settle(i, flight.Outcome[string]{Value: "outer"})
					}
				}
				for i, o := range g.DoMany(t.Context(), []string{own + "1", own + "2", own + "3"}, func(string) {}, outer) {
					if o.Err != nil || (o.Value == "first") != (i == 0) {
						t.Errorf("%s, key %d: %+v", own, i, o)
					}
				}
				// The last to ask goes on at once, the others wait for the end of the next.
				if took := time.Since(start); took > 4*time.Second {
					t.Errorf("%s took %v", own, took)
				}
			}()
		}
		synctest.Wait()
		time.Sleep(time.Minute)
	})
}
