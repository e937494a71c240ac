package flight_test

import (
	"context"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/flight"
)

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

func TestAnEndedContextStartsNothing(t *testing.T) {
	g := flight.New[int](nil)
	defer g.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	load := func(context.Context) (int, error) { t.Error("a load ran"); return 0, nil }
	if _, _, err := g.Do(ctx, "k", load); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	many := func(context.Context, []string, func(int, flight.Outcome[int])) { t.Error("a load ran") }
	if out := g.DoMany(ctx, []string{"k"}, func(string) {}, many); !errors.Is(out[0].Err, context.Canceled) {
		t.Errorf("got %v", out)
	}
}

// All waiters leave; the load goes on, and who comes later shares it.
func TestLoadsOutliveTheirWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := flight.New[string](nil)
		defer g.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		load := func(ctx context.Context) (string, error) {
			time.Sleep(10 * time.Second)
			return "loaded", ctx.Err()
		}
		for range 1000 {
			go g.Do(ctx, "k", load)
		}
		time.Sleep(5 * time.Second)
		v, shared, err := g.Do(t.Context(), "k", nil)
		if v != "loaded" || !shared || err != nil {
			t.Errorf("got %q, %v, %v", v, shared, err)
		}
	})
}

// lockedContext is a context of a caller's own, whose values need the group.
type lockedContext struct {
	context.Context
	group *flight.Group[int]
}

func (c lockedContext) Value(key any) any {
	if _, ours := key.(valueKey); !ours {
		c.group.Go(context.Background(), "from a context", func(context.Context) (int, error) { return 0, nil })
	}
	return c.Context.Value(key)
}

func TestContextsRunOutsideTheLock(t *testing.T) {
	g := flight.New[int](nil)
	defer g.Close()
	ctx := lockedContext{context.WithValue(t.Context(), valueKey{}, 7), g}
	load := func(ctx context.Context) (int, error) { return ctx.Value(valueKey{}).(int), nil }
	if v, _, err := g.Do(ctx, "k", load); v != 7 || err != nil {
		t.Errorf("got %d, %v", v, err)
	}
	many := func(ctx context.Context, _ []string, settle func(int, flight.Outcome[int])) {
		settle(0, flight.Outcome[int]{Value: ctx.Value(valueKey{}).(int)})
	}
	if out := g.DoMany(ctx, []string{"k"}, func(string) {}, many); out[0].Value != 7 {
		t.Errorf("got %v", out)
	}
	if !g.Go(ctx, "k", load) {
		t.Error("no background load started")
	}
}

// A context that package context knows costs no goroutine: the caller's
// cancellation must not be found behind its values.
func TestLoadsContextIsTheGroups(t *testing.T) {
	g := flight.New[int](nil)
	defer g.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	before := runtime.NumGoroutine()
	ended := make(chan struct{})
	g.Do(ctx, "k", func(ctx context.Context) (int, error) {
		defer close(ended)
		if n := runtime.NumGoroutine(); n > before+1 {
			t.Errorf("%d goroutines for one load", n-before)
		}
		cancel(io.ErrUnexpectedEOF)
		if ctx.Err() != nil || context.Cause(ctx) != nil {
			t.Errorf("the load's context ended with its caller's: %v", context.Cause(ctx))
		}
		inner, stop := context.WithCancel(ctx)
		defer stop()
		if inner.Err() != nil {
			t.Error("a context made of the load's has ended")
		}
		return 0, nil
	})
	<-ended // the caller has left already
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
