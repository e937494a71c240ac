package flight_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/cachekit-io/cachekit-go/internal/flight"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOneLoadForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := flight.New[int](nil)
		defer g.Close()
		var loads, sharers atomic.Int32
		for range 1000 {
			go func() {
				v, shared, err := g.Do(t.Context(), "k", func(context.Context) (int, error) {
					time.Sleep(time.Second)
					return int(loads.Add(1)), nil
				})
				if v != 1 || err != nil {
					t.Errorf("got %d, %v", v, err)
				}
				if shared {
					sharers.Add(1)
				}
			}()
		}
		time.Sleep(2 * time.Second)
		if loads.Load() != 1 || sharers.Load() != 999 {
			t.Errorf("%d loads, %d sharers; want 1 and 999", loads.Load(), sharers.Load())
		}
		if v, _, _ := g.Do(t.Context(), "k", func(context.Context) (int, error) { return 7, nil }); v != 7 {
			t.Error("a finished load is served again")
		}
	})
}

type valueKey struct{}

// The first caller's cancellation fails nobody else, and its values are kept.
func TestLeaderMayLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := flight.New[string](nil)
		defer g.Close()
		leader, leave := context.WithCancel(context.WithValue(t.Context(), valueKey{}, "trace"))
		load := func(ctx context.Context) (string, error) {
			time.Sleep(time.Second)
			return ctx.Value(valueKey{}).(string), ctx.Err()
		}
		go func() {
			if _, _, err := g.Do(leader, "k", load); !errors.Is(err, context.Canceled) {
				t.Errorf("the leader got %v, want its own cancellation", err)
			}
		}()
		synctest.Wait()
		leave()
		if v, shared, err := g.Do(t.Context(), "k", load); v != "trace" || !shared || err != nil {
			t.Errorf("the waiter got %q, %v, %v", v, shared, err)
		}
	})
}

func TestWaitersHaveTheirOwnDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := flight.New[int](nil)
		defer g.Close()
		go g.Do(t.Context(), "k", func(context.Context) (int, error) { time.Sleep(time.Minute / 4); return 1, nil })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, _, err := g.Do(ctx, "k", nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
	})
}

func TestLoadsThatDoNotReturn(t *testing.T) {
	g := flight.New[int](nil)
	defer g.Close()
	for name, tc := range map[string]struct {
		load  func(context.Context) (int, error)
		check func(error) bool
	}{
		"panic with a secret": {func(context.Context) (int, error) { panic("hunter2") }, func(err error) bool {
			var p *flight.PanicError
			return errors.As(err, &p) && p.Value == "hunter2" && len(p.Stack) > 0 && !strings.Contains(err.Error(), "hunter2")
		}},
		"panic with an error": {func(context.Context) (int, error) { panic(io.ErrUnexpectedEOF) }, func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
		"panic with nil":      {func(context.Context) (int, error) { panic(nil) }, func(err error) bool { var p *flight.PanicError; return errors.As(err, &p) }},
		"Goexit":              {func(context.Context) (int, error) { runtime.Goexit(); return 0, nil }, func(err error) bool { return errors.Is(err, flight.ErrGoexit) }},
		"error":               {func(context.Context) (int, error) { return 0, io.EOF }, func(err error) bool { return err == io.EOF }},
	} {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if _, _, err := g.Do(t.Context(), name, tc.load); !tc.check(err) {
					t.Errorf("%s: got %v", name, err)
				}
			})
		}
		wg.Wait()
		if v, _, err := g.Do(t.Context(), name, func(context.Context) (int, error) { return 1, nil }); v != 1 || err != nil {
			t.Errorf("%s: the key is poisoned: %v", name, err)
		}
	}
}

func TestReentrantLoadsDoNotWaitForThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := flight.New[string](nil)
		defer g.Close()
		got, _, err := g.Do(t.Context(), "a", func(ctx context.Context) (string, error) {
			b, _, err := g.Do(ctx, "b", func(ctx context.Context) (string, error) {
				a, _, err := g.Do(ctx, "a", func(context.Context) (string, error) { return "inner a", nil })
				return "b of " + a, err
			})
			return "a of " + b, err
		})
		if got != "a of b of inner a" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

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

func TestTimeoutBoundsTheLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := flight.New[int](&flight.Options{Timeout: 5 * time.Second})
		defer g.Close()
		start := time.Now()
		_, _, err := g.Do(t.Context(), "k", func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() })
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 5*time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
	})
}

func TestBackgroundLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := flight.New[int](&flight.Options{MaxBackground: 3})
		defer g.Close()
		block := make(chan struct{})
		load := func(context.Context) (int, error) { <-block; return 0, nil }
		started := 0
		for i := range 10 {
			if g.Go(t.Context(), fmt.Sprint(i), load) {
				started++
			}
		}
		if started != 3 {
			t.Errorf("%d background loads started, want 3", started)
		}
		if g.Go(t.Context(), "0", load) {
			t.Error("a second background load of one key started")
		}
		close(block)
		synctest.Wait()
		if !g.Go(t.Context(), "0", load) {
			t.Error("no background load starts after the others ended")
		}
	})
}

func TestCloseEndsLoads(t *testing.T) {
	g := flight.New[int](nil)
	started := make(chan struct{})
	result := make(chan error)
	go func() {
		_, _, err := g.Do(context.Background(), "k", func(ctx context.Context) (int, error) {
			close(started)
			<-ctx.Done()
			return 0, ctx.Err()
		})
		result <- err
	}()
	<-started
	g.Close()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("the load under way got %v", err)
	}
	if _, _, err := g.Do(context.Background(), "k", nil); !errors.Is(err, flight.ErrClosed) {
		t.Errorf("after Close: got %v, want ErrClosed", err)
	}
	if g.Go(context.Background(), "k", nil) {
		t.Error("a background load started after Close")
	}
}

func BenchmarkDo(b *testing.B) {
	g := flight.New[int](nil)
	defer g.Close()
	b.ReportAllocs()
	for b.Loop() {
		g.Do(context.Background(), "k", func(context.Context) (int, error) { return 1, nil })
	}
}
