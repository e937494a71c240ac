package resilient_test

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/backends/resilient"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// waitFor polls until done, at most for 20 s.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen within 20 s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// A server that is killed opens the circuit; when it is back on its port, calls
// succeed again without anything being built anew.
func TestServerKilledAndRestarted(t *testing.T) {
	s := testenv.Redis(t, nil)
	var states []string
	var mu sync.Mutex
	b := overRedis(t, s.URL(), nil, &resilient.Options{OpenFor: 300 * time.Millisecond, OnStateChange: func(from, to resilient.State) {
		mu.Lock()
		defer mu.Unlock()
		states = append(states, fmt.Sprint(from, " > ", to))
	}})
	if err := b.Set(t.Context(), "k", []byte("v"), time.Hour); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	waitFor(t, "the circuit's opening", func() bool {
		if err := b.Set(t.Context(), "k", []byte("w"), time.Hour); !backends.IsOutage(err) {
			t.Fatalf("a killed server gave %v", err)
		}
		return b.Stats().State == resilient.Open
	})
	if h := b.Health(t.Context()); h.OK || h.Details["circuit"] == "closed" {
		t.Errorf("Health of a killed server: %+v", h)
	}
	s.Start()
	waitFor(t, "recovery", func() bool {
		return b.Set(t.Context(), "k", []byte("x"), time.Hour) == nil && b.Stats().State == resilient.Closed
	})
	if v, err := b.Get(t.Context(), "k"); err != nil || string(v) != "x" {
		t.Errorf("after recovery: %q, %v", v, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if states[0] != "closed > open" || states[len(states)-1] != "half-open > closed" {
		t.Errorf("the hook saw %v", states)
	}
}

// A connection that is reset in the middle of a call costs a retry and no error.
func TestResetIsRetried(t *testing.T) {
	s := testenv.Redis(t, nil)
	p := testenv.Proxy(t, s.Addr())
	// Over go-redis alone: what Open makes reads again by itself.
	client := redis.NewClient(&redis.Options{Addr: p.Addr(), ContextTimeoutEnabled: true, MaxRetries: -1})
	t.Cleanup(func() { _ = client.Close() })
	inner, err := redisbackend.New(client, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := wrap(t, inner, nil)
	t.Cleanup(func() { _ = b.Close() })
	c := b.Capabilities().Batcher
	for name, call := range map[string]struct {
		command string
		do      func() error
	}{
		"Set":    {"set", func() error { return b.Set(t.Context(), "k", []byte("v"), time.Hour) }},
		"Get":    {"get", func() error { _, err := b.Get(t.Context(), "none"); return miss(err) }},
		"Exists": {"exists", func() error { _, err := b.Exists(t.Context(), "k"); return err }},
		"GetMany": {"mget", func() error {
			r := c.GetMany(t.Context(), []string{"none", "nor this"})
			return errors.Join(miss(r[0].Err), miss(r[1].Err))
		}},
		"SetMany": {"set", func() error { return c.SetMany(t.Context(), []backends.Item{{Key: "l", TTL: time.Hour}})[0] }},
	} {
		retries := b.Stats().Retries
		if err := cutDuring(t, p, call.command, call.do); err != nil {
			t.Errorf("%s = %v", name, err)
		}
		if b.Stats().Retries == retries {
			t.Errorf("%s was not retried", name)
		}
	}
}

// cutDuring resets the connections after call has sent command and before it is
// answered. Connections are made before, so that no handshake is stalled.
func cutDuring(t *testing.T, p *testenv.FaultProxy, command string, call func() error) error {
	t.Helper()
	if err := call(); err != nil {
		return err
	}
	sent := len(p.Sent())
	p.StallReplies()
	done := make(chan error, 1)
	go func() { done <- call() }()
	waitFor(t, "the request", func() bool { return bytes.Contains(p.Sent()[sent:], []byte("\r\n"+command+"\r\n")) })
	p.Cut()
	p.Resume()
	return <-done
}

// miss makes nil of a miss, and an error of a hit.
func miss(err error) error {
	switch err {
	case backends.ErrNotFound:
		return nil
	case nil:
		return errors.New("a value was found")
	}
	return err
}

// A write that the backend's own time limit ended, attempt after attempt, does
// not land over what another process wrote after the call.
func TestTimedOutWritesDoNotLandLate(t *testing.T) {
	s := testenv.Redis(t, nil)
	other := overRedis(t, s.URL(), nil, nil)
	for name, stall := range map[string]func(*testenv.FaultProxy){"a black hole": (*testenv.FaultProxy).Stall, "replies that stall": (*testenv.FaultProxy).StallReplies} {
		p := testenv.Proxy(t, s.Addr())
		b := overRedis(t, s.URLAt(p.Addr()), &redisbackend.Options{Timeout: 150 * time.Millisecond}, nil)
		waitFor(t, "the first write", func() bool { return b.Set(t.Context(), "k", []byte("first"), time.Hour) == nil })
		stall(p)
		if err := b.Set(t.Context(), "k", []byte("stale"), time.Hour); kindOf(err) != backends.Timeout {
			t.Fatalf("%s: Set = %v, want Timeout", name, err)
		}
		if err := other.Set(t.Context(), "k", []byte("newer"), time.Hour); err != nil {
			t.Fatal(err)
		}
		p.Resume()
		for range 50 {
			if v, err := other.Get(t.Context(), "k"); err != nil || string(v) != "newer" {
				t.Fatalf("%s: the timed-out write landed: %q, %v", name, v, err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		waitFor(t, "the next write", func() bool { return b.Set(t.Context(), "k", []byte("next"), time.Hour) == nil })
		if v, _ := other.Get(t.Context(), "k"); string(v) != "next" {
			t.Errorf("%s: stored %q", name, v)
		}
	}
}

// A retry that succeeds after an attempt whose reply was lost: what another
// process writes after the call stays, although the first attempt's bytes are
// still on their way.
func TestFirstAttemptDoesNotLandAfterItsRetry(t *testing.T) {
	s := testenv.Redis(t, nil)
	other := overRedis(t, s.URL(), nil, nil)
	for i := range 10 {
		p := testenv.Proxy(t, s.Addr())
		b := overRedis(t, s.URLAt(p.Addr()), &redisbackend.Options{Timeout: 100 * time.Millisecond}, &resilient.Options{BaseDelay: time.Millisecond})
		waitFor(t, "the first write", func() bool { return b.Set(t.Context(), "k", []byte("first"), time.Hour) == nil })
		p.Stall()
		resume := time.AfterFunc(time.Duration(90+5*i)*time.Millisecond, p.Resume)
		defer resume.Stop()
		err := b.Set(t.Context(), "k", []byte("ours"), time.Hour)
		if e := other.Set(t.Context(), "k", []byte("newer"), time.Hour); e != nil {
			t.Fatal(e)
		}
		p.Resume()
		for range 10 {
			if v, _ := other.Get(t.Context(), "k"); string(v) != "newer" {
				t.Fatalf("round %d: Set returned %v, then %q landed over the newer value", i, err, v)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// A stalled server costs a call at most two of the backend's time limits, and an
// open circuit nothing.
func TestStalledServer(t *testing.T) {
	const limit = 250 * time.Millisecond
	s := testenv.Redis(t, nil)
	p := testenv.Proxy(t, s.Addr())
	b := overRedis(t, s.URLAt(p.Addr()), &redisbackend.Options{Timeout: limit}, nil)
	p.Stall()
	var attempts atomic.Int32
	start := time.Now()
	for b.Stats().State == resilient.Closed {
		if _, err := b.Get(t.Context(), "k"); kindOf(err) != backends.Timeout {
			t.Fatalf("got %v, want Timeout", err)
		}
		attempts.Add(1)
	}
	if n := attempts.Load(); n != 5 || b.Stats().Retries != 5 {
		t.Errorf("the circuit opened after %d calls with %d retries, want 5 and 5 (%v)", n, b.Stats().Retries, time.Since(start))
	}
	sent := len(p.Sent())
	for range 1000 {
		if _, err := b.Get(t.Context(), "k"); kindOf(err) != backends.CircuitOpen {
			t.Fatalf("got %v, want CircuitOpen", err)
		}
	}
	if len(p.Sent()) != sent {
		t.Error("an open circuit sent something")
	}
}
