package secure_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachekit-io/cachekit-go/secure"
)

func sprint(err error) string { return fmt.Sprintf("%v %+v %#v %q", err, err, err, err) }

func TestGetOrLoad(t *testing.T) {
	f := newFake()
	c := open(t, f, nil)
	v := secure.For[user](c)
	loads := 0
	load := func(context.Context) (user, error) { loads++; return alice, nil }
	for range 3 {
		if got, err := v.GetOrLoad(t.Context(), "k", load); err != nil || got != alice {
			t.Fatalf("got %+v, %v", got, err)
		}
	}
	other := secure.For[user](open(t, f, nil))
	if got, err := other.GetOrLoad(t.Context(), "k", load); err != nil || got != alice || loads != 1 {
		t.Errorf("another process: %+v, %v, %d loads; want 1", got, err, loads)
	}
}

func TestConcurrentLoadsRunOnceAndShareNoMemory(t *testing.T) {
	c := open(t, newFake(), nil)
	v := secure.For[[]byte](c)
	var loads atomic.Int32
	var wg sync.WaitGroup
	release := make(chan struct{})
	for i := range 200 {
		wg.Go(func() {
			got, err := v.GetOrLoad(t.Context(), "k", func(context.Context) ([]byte, error) {
				loads.Add(1)
				<-release
				return []byte("value"), nil
			})
			if err != nil || string(got) != "value" {
				t.Errorf("got %q, %v", got, err)
				return
			}
			got[0] = byte(i) // races with another waiter if they share it
		})
	}
	close(release)
	wg.Wait()
	if loads.Load() != 1 {
		t.Errorf("%d loads, want 1", loads.Load())
	}
}

func TestLeaderAndWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, newFake(), nil)
		defer c.Close()
		v := secure.For[string](c)
		leader, leave := context.WithCancel(t.Context())
		load := func(context.Context) (string, error) { time.Sleep(time.Second); return "value", nil }
		done := make(chan error, 1)
		go func() { _, err := v.GetOrLoad(leader, "k", load); done <- err }()
		synctest.Wait()
		leave()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("the leader got %v", err)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := v.GetOrLoad(short, "k", load); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the impatient waiter got %v", err)
		}
		if got, err := v.GetOrLoad(t.Context(), "k", load); got != "value" || err != nil {
			t.Errorf("the patient waiter got %q, %v", got, err)
		}
	})
}

func TestLoadersThatFail(t *testing.T) {
	c := open(t, newFake(), nil)
	v := secure.For[int](c)
	mine := errors.New("mine")
	for name, tc := range map[string]struct {
		load  func(context.Context) (int, error)
		check func(error) bool
	}{
		"error":  {func(context.Context) (int, error) { return 0, mine }, func(err error) bool { return err == mine }},
		"panic":  {func(context.Context) (int, error) { panic("x") }, func(err error) bool { var p *secure.PanicError; return errors.As(err, &p) && p.Value == "x" }},
		"Goexit": {func(context.Context) (int, error) { runtime.Goexit(); return 0, nil }, func(err error) bool { return err != nil }},
		"itself": {func(ctx context.Context) (int, error) {
			return v.GetOrLoad(ctx, "itself", func(context.Context) (int, error) { return 0, mine })
		}, func(err error) bool { return err == mine }},
	} {
		if _, err := v.GetOrLoad(t.Context(), name, tc.load); !tc.check(err) {
			t.Errorf("%s: got %v", name, err)
		}
		if got, err := v.GetOrLoad(t.Context(), name, func(context.Context) (int, error) { return 7, nil }); got != 7 || err != nil {
			t.Errorf("%s: the key is poisoned: %v", name, err)
		}
	}
	if _, err := secure.For[chan int](c).GetOrLoad(t.Context(), "chan", func(context.Context) (chan int, error) { return make(chan int), nil }); !errors.Is(err, secure.ErrType) {
		t.Errorf("a value that cannot be stored: got %v, want ErrType", err)
	}
}

func TestNegativeResults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := open(t, f, func(o *secure.Options) { o.NegativeTTL = time.Minute })
		defer c.Close()
		v := secure.For[int](c)
		loads := 0
		absent := func(context.Context) (int, error) { loads++; return 0, fmt.Errorf("no row: %w", secure.ErrAbsent) }
		for range 3 {
			if _, err := v.GetOrLoad(t.Context(), "k", absent); !errors.Is(err, secure.ErrAbsent) {
				t.Errorf("got %v, want ErrAbsent", err)
			}
		}
		var out int
		if found, err := c.Get(t.Context(), "k", &out); found || err != nil {
			t.Errorf("Get: %v, %v", found, err)
		}
		if loads != 1 || len(f.keys()) != 0 {
			t.Errorf("%d loads, stored %v; want 1 load and nothing stored", loads, f.keys())
		}
		time.Sleep(time.Minute)
		v.GetOrLoad(t.Context(), "k", absent)
		if loads != 2 {
			t.Errorf("after its TTL: %d loads, want 2", loads)
		}
		if err := c.Set(t.Context(), "k", 5); err != nil {
			t.Fatal(err)
		}
		if found, _ := c.Get(t.Context(), "k", &out); !found || out != 5 {
			t.Error("a Set does not end the absence")
		}
	})
}

func TestOutages(t *testing.T) {
	f := newFake()
	log := new(logs)
	c := open(t, f, func(o *secure.Options) { o.Logger = log.logger() })
	v := secure.For[user](c)
	f.setFault(outage)
	var out user
	_, err := c.Get(t.Context(), "k", &out)
	_, delErr := c.Delete(t.Context(), "k")
	for op, err := range map[string]error{"get": err, "set": c.Set(t.Context(), "k", alice), "delete": delErr} {
		if !errors.Is(err, secure.ErrUnavailable) || errors.Is(err, secure.ErrAuth) {
			t.Errorf("%s: got %v, want ErrUnavailable", op, err)
		}
	}
	if got, err := v.GetOrLoad(t.Context(), "k", func(context.Context) (user, error) { return alice, nil }); err != nil || got != alice {
		t.Errorf("GetOrLoad: got %+v, %v; want the loader's value", got, err)
	}
	many, err := v.GetOrLoadMany(t.Context(), []string{"a", "b"}, func(_ context.Context, missing []string) (map[string]user, error) {
		return map[string]user{"a": alice, "b": alice}, nil
	})
	if err != nil || len(many) != 2 {
		t.Errorf("GetOrLoadMany: got %v, %v", many, err)
	}
	if c.Stats().Absorbed == 0 || !strings.Contains(log.String(), "without the cache") {
		t.Error("the outage was not reported")
	}
	f.setFault(nil)
	if found, err := c.Get(t.Context(), "k", &out); found || err != nil {
		t.Errorf("after the outage: %v, %v; what could not be stored must not be served", found, err)
	}
}

// What Set returned an error for has an unknown outcome: no copy of the old or
// the new value may be served from memory (I7).
func TestFailedWritesLeaveNoCopy(t *testing.T) {
	f := newFake()
	c := open(t, f, nil)
	for _, op := range []func() error{
		func() error { return c.Set(t.Context(), "k", "new") },
		func() error { _, err := c.Delete(t.Context(), "k"); return err },
		func() error { return secure.For[string](c).SetMany(t.Context(), map[string]string{"k": "new"}) },
		func() error { _, err := c.DeleteMany(t.Context(), []string{"k"}); return err },
	} {
		f.setFault(nil)
		if err := c.Set(t.Context(), "k", "old"); err != nil {
			t.Fatal(err)
		}
		f.setFault(outage)
		if err := op(); err == nil {
			t.Fatal("no error")
		}
		var out string
		if found, err := c.Get(t.Context(), "k", &out); found || !errors.Is(err, secure.ErrUnavailable) {
			t.Errorf("got %q, %v, %v; want the outage", out, found, err)
		}
	}
}
