package secure_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/backends/resilient"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
	"github.com/cachekit-io/cachekit-go/secure"
)

// profiles are the constructors that take a backend.
var profiles = map[string]constructor{"secure": secure.New, "production": secure.NewProduction, "minimal": secure.NewMinimal}

const impatient = 200 * time.Millisecond

// overRedis builds a cache of a profile over the Redis at url with a time limit.
func overRedis(t *testing.T, name, url string, limit time.Duration) *secure.Cache {
	t.Helper()
	b, err := redisbackend.Open(t.Context(), url, &redisbackend.Options{Timeout: limit})
	for range 20 { // the machine may be slower than that
		if err == nil {
			break
		}
		b, err = redisbackend.Open(t.Context(), url, &redisbackend.Options{Timeout: limit})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	opts := &secure.Options{Backend: b, Namespace: "users", MasterKey: key(t, "1"), Logger: slog.New(slog.DiscardHandler)}
	if name != "minimal" {
		opts.ReliabilityOptions = &resilient.Options{OpenFor: time.Second}
	}
	c, err := profiles[name](t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// outageOf checks what a cache does while its backend is gone: reads and writes
// say so, loads go on, copies are served, and what failed authentication before
// stays an error.
func outageOf(t *testing.T, c *secure.Cache) {
	t.Helper()
	ctx, out := t.Context(), user{}
	_, getErr := c.Get(ctx, "unknown", &out)
	_, delErr := c.Delete(ctx, "unknown")
	_, existsErr := c.Exists(ctx, "unknown")
	_, manyErr := secure.For[user](c).GetMany(ctx, []string{"unknown"})
	for op, err := range map[string]error{
		"Get": getErr, "Set": c.Set(ctx, "unknown", alice), "Delete": delErr, "Exists": existsErr, "GetMany": manyErr,
		"SetMany": secure.For[user](c).SetMany(ctx, map[string]user{"unknown": alice}),
	} {
		if !errors.Is(err, secure.ErrUnavailable) || errors.Is(err, secure.ErrAuth) {
			t.Errorf("%s = %v, want ErrUnavailable", op, err)
		}
	}
	if h := c.Health(ctx); h.OK {
		t.Error("Health is OK")
	}
	load := func(context.Context) (user, error) { return alice, nil }
	if got, err := secure.For[user](c).GetOrLoad(ctx, "loaded", load); err != nil || got != alice {
		t.Errorf("GetOrLoad = %+v, %v, want the loader's value", got, err)
	}
	mine := errors.New("mine")
	if _, err := secure.For[user](c).GetOrLoad(ctx, "failed", func(context.Context) (user, error) { return user{}, mine }); err != mine {
		t.Errorf("GetOrLoad of a loader that fails = %v, want its error", err)
	}
	op, err := c.Op("users", "get_user")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := secure.Func(op, func(context.Context, int) (user, error) { return alice, nil })(ctx, 42); err != nil || got != alice {
		t.Errorf("Func = %+v, %v, want the function's value", got, err)
	}
	if found, err := c.Get(ctx, "copied", &out); !found || err != nil {
		t.Errorf("Get of an entry with a copy = %t, %v", found, err)
	}
	stop := func(context.Context) (user, error) {
		t.Error("the loader of an entry with a copy ran")
		return user{}, nil
	}
	if got, err := secure.For[user](c).GetOrLoad(ctx, "copied", stop); err != nil || got != alice {
		t.Errorf("GetOrLoad of an entry with a copy = %+v, %v", got, err)
	}
	if c.Stats().Absorbed == 0 {
		t.Error("the outage that loads absorbed is not counted")
	}
}

// tampered checks that a planted entry is an error from everything, and no
// loader runs.
func tampered(t *testing.T, c *secure.Cache, s *testenv.RedisServer) {
	t.Helper()
	s.Do("SET", "users:planted", "no ciphertext at all, but long enough")
	for range 10 { // more often than failures open a circuit
		var out user
		if _, err := c.Get(t.Context(), "planted", &out); !errors.Is(err, secure.ErrAuth) {
			t.Errorf("Get of a planted entry = %v, want ErrAuth", err)
		}
		_, err := secure.For[user](c).GetOrLoad(t.Context(), "planted", func(context.Context) (user, error) { t.Error("the loader ran"); return alice, nil })
		if !errors.Is(err, secure.ErrAuth) {
			t.Errorf("GetOrLoad of a planted entry = %v, want ErrAuth", err)
		}
	}
	if s := c.Stats(); s.Reliability.Trips != 0 || s.Reliability.Retries != 0 || s.AuthFailures != 20 {
		t.Errorf("authentication failures count for the circuit: %+v", s)
	}
}

// stores repeats a Set until it succeeds, for 30 s at most.
func stores(t *testing.T, c *secure.Cache, key string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for c.Set(t.Context(), key, alice) != nil {
		if time.Now().After(deadline) {
			t.Fatal("no recovery within 30 s")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// recovers waits until a cache whose backend is back works again.
func recovers(t *testing.T, c *secure.Cache) {
	t.Helper()
	stores(t, c, "after")
	kept := func(key string) bool {
		loads := 0
		for range 2 {
			if _, err := secure.For[user](c).GetOrLoad(t.Context(), key, func(context.Context) (user, error) { loads++; return alice, nil }); err != nil {
				t.Error(err)
			}
		}
		return loads == 1
	}
	for i := 0; !kept(fmt.Sprint("kept", i)); i++ { // the machine may be slower than the limit
		if i == 20 {
			t.Fatal("after recovery, nothing that is loaded is kept")
		}
	}
	if found, err := c.Get(t.Context(), "loaded", new(user)); found {
		t.Errorf("what was loaded in the outage is kept: %v", err)
	}
}

// The policy of every profile against a server that dies and comes back.
func TestServerKilledAndRestarted(t *testing.T) {
	for name := range profiles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testenv.Redis(t, nil)
			c := overRedis(t, name, s.URL(), 5*time.Second)
			if err := c.Set(t.Context(), "copied", alice); err != nil {
				t.Fatal(err)
			}
			tampered(t, c, s)
			s.Stop()
			outageOf(t, c)
			s.Start()
			recovers(t, c)
		})
	}
}

// The policy of every profile in a broken network, and how long a load waits:
// for the backend's time limit twice at most, once for the write, and for
// nothing once the circuit is open.
func TestBrokenNetwork(t *testing.T) {
	faults := map[string]func(*testenv.FaultProxy){
		"black hole":       (*testenv.FaultProxy).Stall,
		"replies stall":    (*testenv.FaultProxy).StallReplies,
		"reset and refuse": (*testenv.FaultProxy).Kill,
		"stall, then reset": func(p *testenv.FaultProxy) {
			p.Stall()
			p.Cut()
		},
	}
	for name := range profiles {
		for fault, inflict := range faults {
			if name != "secure" && fault != "black hole" {
				continue // production is the same stack, minimal none
			}
			t.Run(fmt.Sprint(name, "/", fault), func(t *testing.T) {
				t.Parallel()
				s := testenv.Redis(t, nil)
				p := testenv.Proxy(t, s.Addr())
				c := overRedis(t, name, s.URLAt(p.Addr()), impatient)
				stores(t, c, "copied")
				inflict(p)
				start := time.Now()
				if _, err := secure.For[user](c).GetOrLoad(t.Context(), "first", func(context.Context) (user, error) { return alice, nil }); err != nil {
					t.Errorf("GetOrLoad = %v, want the loader's value", err)
				}
				// read: two limits and a wait below 100 ms; write: 1 s at most
				if took, limit := time.Since(start), 2*impatient+100*time.Millisecond+time.Second; took > limit+time.Second {
					t.Errorf("GetOrLoad took %v, want at most %v", took, limit)
				}
				outageOf(t, c)
				if name != "minimal" {
					for c.Stats().Reliability.State == resilient.Closed {
						c.Set(t.Context(), "unknown", alice)
					}
					sent := len(p.Sent())
					for i := range 100 {
						secure.For[user](c).GetOrLoad(t.Context(), fmt.Sprint("fast", i), func(context.Context) (user, error) { return alice, nil })
					}
					if st := c.Stats().Reliability; st.State == resilient.Open && len(p.Sent()) != sent {
						t.Error("loads sent something through an open circuit")
					}
				}
				if fault != "reset and refuse" { // which is for good
					p.Resume()
					recovers(t, c)
				}
			})
		}
	}
}
