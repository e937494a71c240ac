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

func TestLoadsThatDoNotReturn(t *testing.T) {
	g := flight.New[int](nil)
	defer g.Close()
	for name, tc := range map[string]struct {
		load  func(context.Context) (int, error)
		check func(error) bool
	}{
		"panic with a secret": {func(context.Context) (int, error) { panic("hunter2") }, func(err error) bool {
			var p *flight.PanicError
			return errors.As(err, &p) && p.Value == "hunter2" && len(p.Stack) > 0 && !strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), "hunter2")
		}},
		"panic with an error": {func(context.Context) (int, error) { panic(io.ErrUnexpectedEOF) }, func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
		"panic with nil":      {func(context.Context) (int, error) { panic(nil) }, func(err error) bool { var p *flight.PanicError; return errors.As(err, &p) }},
		"Goexit":              {func(context.Context) (int, error) { runtime.Goexit(); return 0, nil }, func(err error) bool { return errors.Is(err, flight.ErrGoexit) }},
		"error":               {func(context.Context) (int, error) { return 0, io.EOF }, func(err error) bool { return err == io.EOF }},
	} {
		var wg sync.WaitGroup
		for range 1000 {
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

// A load that ignores its context holds up its own key only.
func TestABlockedLoadBlocksItsKeyOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := flight.New[int](nil)
		block := make(chan struct{})
		go g.Do(t.Context(), "blocked", func(context.Context) (int, error) { <-block; return 1, nil })
		time.Sleep(time.Hour)
		if v, _, err := g.Do(t.Context(), "other", func(context.Context) (int, error) { return 2, nil }); v != 2 || err != nil {
			t.Errorf("another key got %d, %v", v, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := g.Do(ctx, "blocked", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a waiter of the blocked key got %v", err)
		}
		close(block)
		g.Close()
	})
}

// Who asks after a write does not get what a load read before it.
func TestForgottenLoadsAreNotJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := flight.New[string](nil)
		load := func(value string) func(context.Context) (string, error) {
			return func(context.Context) (string, error) { time.Sleep(2 * time.Second); return value, nil }
		}
		do := func(value, want string) {
			if v, _, err := g.Do(t.Context(), "k", load(value)); v != want || err != nil {
				t.Errorf("got %q, %v; want %q", v, err, want)
			}
		}
		g.Forget("k")
		go do("old", "old")
		synctest.Wait()
		go do("", "old")
		synctest.Wait()
		g.Forget("k")
		time.Sleep(time.Second)
		go do("new", "new")
		time.Sleep(3 * time.Second / 2) // the old load has ended, the new one has not
		do("", "new")
		do("newest", "newest")
		g.Close()
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
