package redisbackend_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// loner writes one key again and again, alone, with ctx, until stop ends or a write
// fails, and then tells how.
func loner(ctx, stop context.Context, o owner) <-chan error {
	done := make(chan error, 1)
	go func() {
		var err error
		for err == nil && stop.Err() == nil {
			err = o.Set(ctx, "loner", []byte("old"), time.Minute)
		}
		done <- err
	}()
	return done
}

func ended(t testing.TB, loner <-chan error) {
	t.Helper()
	if err := <-loner; err != nil {
		t.Fatalf("the loner ended with %v", err)
	}
}

// leads waits until the loner reads the answers himself.
func leads(t testing.TB, o owner) {
	t.Helper()
	testenv.Poll(t, 20*time.Second, "a caller to read", func() bool { return redisbackend.CallerReads(o.Backend) })
}

// strand stops what travels while a loner reads, and returns how he ends.
func strand(t testing.TB, ctx, stop context.Context, p *testenv.FaultProxy, o owner) <-chan error {
	t.Helper()
	done := loner(ctx, stop, o)
	stalled := 0
	testenv.Poll(t, 20*time.Second, "a caller to read in vain", func() bool {
		switch {
		case !redisbackend.CallerReads(o.Backend):
			p.Resume()
			stalled = 0
		case stalled == 0:
			p.Stall()
			fallthrough
		default:
			stalled++
		}
		return stalled > 3
	})
	return done
}

// Rule: reports do not wait for writes: not while a caller writes without a pause
// and reads the answers himself, and not when he stops.
func TestReportsBesideALoner(t *testing.T) {
	s := testenv.Redis(t, nil)
	b, other := owning(t, open(t, s.URL(), nil)), open(t, s.URL(), nil)
	for _, stops := range []bool{false, true} {
		var waits []time.Duration
		for i := range 15 {
			ctx, cancel := context.WithCancel(t.Context())
			done := loner(t.Context(), ctx, b)
			leads(t, b)
			if stops {
				cancel()
				ended(t, done)
			}
			key := fmt.Sprint(stops, i)
			set(t, other, key, "v")
			start := time.Now()
			for b.times(key) == 0 {
				if time.Since(start) > 20*time.Second {
					t.Fatalf("stops=%v: no report", stops)
				}
				<-time.After(time.Millisecond)
			}
			waits = append(waits, time.Since(start))
			cancel()
			if !stops {
				ended(t, done)
			}
		}
		// A signal of life that wakes the reader comes every 500 ms.
		slices.Sort(waits)
		if median := waits[len(waits)/2]; median > 100*time.Millisecond {
			t.Errorf("stops=%v: reports came after %v", stops, waits)
		}
	}
	if b.downs > 0 {
		t.Error("the link has ended")
	}
}

// Rule: after a lull, which ends by itself, a few writes show that callers still come
// one by one.
func TestLonerComesBack(t *testing.T) {
	s := testenv.Redis(t, nil)
	b := owning(t, open(t, s.URL(), nil))
	for range 5 {
		stop, cancel := context.WithCancel(t.Context())
		done := loner(t.Context(), stop, b)
		leads(t, b)
		cancel()
		ended(t, done)
		testenv.Poll(t, 20*time.Second, "the session to read", func() bool { return redisbackend.SessionReads(b.Backend) })
		for range 8 {
			put(t, b, "loner", "v")
			if !redisbackend.SessionReads(b.Backend) {
				return
			}
		}
	}
	t.Error("the link is not left to a caller who has come back")
}

// Rule: a caller who reads gives up with his context, and his write never lands
// over a newer one.
func TestLonerGivesUp(t *testing.T) {
	s := testenv.Redis(t, nil)
	other := open(t, s.URL(), nil)
	var took time.Duration
	for range 3 {
		p := testenv.Proxy(t, s.Addr())
		b := owning(t, open(t, s.URLAt(p.Addr()), nil))
		ctx, cancel := context.WithCancel(t.Context())
		done := strand(t, ctx, t.Context(), p, b)
		start := time.Now()
		cancel()
		err := <-done
		took = time.Since(start)
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v, want the error of the context", err)
		}
		set(t, other, "loner", "newer")
		p.Resume()
		settle(t, p)
		want(t, other, "loner", "newer")
		up(t, b.heard)
		put(t, b, "loner", "newest")
		want(t, other, "loner", "newest")
		if took < 100*time.Millisecond {
			return
		}
	}
	t.Errorf("returned %v after the end of the context", took)
}

// Rule: a caller who reads is bound by Options.Timeout too.
func TestLonerTimeout(t *testing.T) {
	s := testenv.Redis(t, nil)
	var took time.Duration
	for range 3 {
		p := testenv.Proxy(t, s.Addr())
		b := owning(t, open(t, s.URLAt(p.Addr()), &redisbackend.Options{Timeout: 200 * time.Millisecond}))
		done := strand(t, context.Background(), t.Context(), p, b)
		start := time.Now()
		err := <-done
		var e *backends.Error
		if !errors.As(err, &e) || e.Kind != backends.Timeout {
			t.Fatalf("got %v, want a timeout", err)
		}
		// A session whose server is silent ends after 1.25 s at the earliest.
		if took = time.Since(start); took < time.Second {
			return
		}
	}
	t.Errorf("returned after %v", took)
}

// Rule: writes that come while a caller reads are answered, before him and after
// he has left, and a late answer is one.
func TestLonerIsJoined(t *testing.T) {
	s := testenv.Redis(t, nil)
	p := testenv.Proxy(t, s.Addr())
	b := owning(t, open(t, s.URLAt(p.Addr()), nil))
	for i := range 10 {
		stop, cancel := context.WithCancel(t.Context())
		done := strand(t, context.Background(), stop, p, b)
		var calls sync.WaitGroup
		for j := range 8 {
			calls.Go(func() { put(t, b, fmt.Sprint("k", j), fmt.Sprint(i)) })
		}
		p.Resume()
		calls.Wait()
		for j := range 8 {
			want(t, b.Backend, fmt.Sprint("k", j), fmt.Sprint(i))
		}
		cancel()
		ended(t, done)
	}
	if b.downs > 0 {
		t.Error("the link has ended")
	}
}

// Rule: a caller who reads handles reports, in the order of the server.
func TestLonerHandlesReports(t *testing.T) {
	s := testenv.Redis(t, nil)
	p := testenv.Proxy(t, s.Addr())
	b, other := owning(t, open(t, s.URLAt(p.Addr()), nil)), open(t, s.URL(), nil)
	for i := range 20 {
		stop, cancel := context.WithCancel(t.Context())
		done := strand(t, context.Background(), stop, p, b)
		key := fmt.Sprint("k", i)
		set(t, other, key, "v")
		p.Resume()
		testenv.Poll(t, 20*time.Second, "a report", func() bool { return b.times(key) > 0 })
		cancel()
		ended(t, done)
	}
}

// Rule: the end of a session is the end of who reads it.
func TestLonerLosesTheLink(t *testing.T) {
	for name, fault := range map[string]func(*testenv.FaultProxy, owner){
		"connection cut": func(p *testenv.FaultProxy, _ owner) { p.Cut() },
		"no answer":      func(*testenv.FaultProxy, owner) {},
		"close":          func(_ *testenv.FaultProxy, o owner) { _ = o.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			s := testenv.Redis(t, nil)
			p := testenv.Proxy(t, s.Addr())
			b := owning(t, open(t, s.URLAt(p.Addr()), nil))
			done := strand(t, context.Background(), t.Context(), p, b)
			fault(p, b)
			err := <-done
			if name == "close" {
				if !errors.Is(err, backends.ErrClosed) {
					t.Errorf("got %v, want ErrClosed", err)
				}
				return
			}
			if !backends.IsOutage(err) {
				t.Errorf("got %v, want an outage", err)
			}
			p.Resume()
			up(t, b.heard)
			put(t, b, "loner", "newer")
			want(t, b.Backend, "loner", "newer")
		})
	}
}

// Rule: callers come and go, alone and together, and each gets his own answer.
func TestLonersByTurns(t *testing.T) {
	s := testenv.Redis(t, nil)
	b, other := owning(t, open(t, s.URL(), nil)), open(t, s.URL(), nil)
	for i := range 20 {
		for n := range 100 {
			value := bytes.Repeat([]byte{byte(n)}, 1+n*10)
			put(t, b, "k", string(value))
			if n%10 == 0 {
				want(t, other, "k", string(value))
			}
			if existed, err := b.Delete(t.Context(), "none"); existed || err != nil {
				t.Fatalf("Delete = %v, %v", existed, err)
			}
		}
		var calls sync.WaitGroup
		for g := range 1 + i%4 {
			calls.Go(func() {
				key := fmt.Sprint("g", g)
				for range 50 {
					put(t, b, key, "v")
					if existed, err := b.Delete(t.Context(), key); !existed || err != nil {
						t.Errorf("Delete = %v, %v", existed, err)
						return
					}
				}
			})
		}
		calls.Wait()
	}
}
