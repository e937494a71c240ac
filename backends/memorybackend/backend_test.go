package memorybackend_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/memorybackend"
	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/secure"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func set(t *testing.T, b *memorybackend.Backend, key, value string, ttl time.Duration) {
	t.Helper()
	if err := b.Set(t.Context(), key, []byte(value), ttl); err != nil {
		t.Fatalf("Set: %v", err)
	}
}

func wantKind(t *testing.T, what string, err error, kind backends.Kind) {
	t.Helper()
	var e *backends.Error
	if !errors.As(err, &e) || e.Kind != kind || e.Backend != "memory" {
		t.Errorf("%s = %v, want kind %v", what, err, kind)
	}
}

// Rule: nothing expires but by the test's clock, and then to the nanosecond.
func TestClock(t *testing.T) {
	clock := memorybackend.NewClock(start)
	b := memorybackend.New(&memorybackend.Options{Clock: clock})
	set(t, b, "k", "v", time.Hour)
	token, err := b.Lock(t.Context(), "k", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	clock.Advance(time.Hour - 1)
	if ttl, err := b.TTL(t.Context(), "k"); ttl != 1 || err != nil {
		t.Errorf("TTL = %v, %v, want the last nanosecond", ttl, err)
	}
	if _, err := b.Lock(t.Context(), "k", time.Hour); !errors.Is(err, backends.ErrLocked) {
		t.Errorf("Lock = %v, want ErrLocked", err)
	}
	clock.Advance(1)
	if _, err := b.Get(t.Context(), "k"); !errors.Is(err, backends.ErrNotFound) {
		t.Errorf("Get = %v, want ErrNotFound", err)
	}
	if ok, err := b.Unlock(t.Context(), "k", token); ok || err != nil {
		t.Errorf("Unlock of an expired lock = %t, %v", ok, err)
	}
	if now := clock.Now(); !now.Equal(start.Add(time.Hour)) {
		t.Errorf("the clock shows %v", now)
	}
}

// Rule: a bound refuses and evicts nothing; what has expired makes room.
func TestMaxBytes(t *testing.T) {
	clock := memorybackend.NewClock(start)
	b := memorybackend.New(&memorybackend.Options{Clock: clock, MaxBytes: 20})
	set(t, b, "a", "123456789", time.Minute)
	set(t, b, "b", "123456789", time.Hour)
	wantKind(t, "Set beyond the bound", b.Set(t.Context(), "c", nil, time.Hour), backends.Overload)
	_, err := b.Swap(t.Context(), "b", []byte("123456789"), []byte("1234567890"))
	wantKind(t, "Swap beyond the bound", err, backends.Overload)
	set(t, b, "b", "12345678", time.Hour)
	set(t, b, "c", "", time.Hour)
	wantKind(t, "Set beyond the bound", b.Set(t.Context(), "a", []byte("1234567890"), time.Hour), backends.Overload)
	clock.Advance(time.Minute)
	set(t, b, "a", "1234567", time.Hour)
	h := b.Health(t.Context())
	if h.Details["bytes"] != "18" || h.Details["entries"] != "3" {
		t.Errorf("Health = %v, want 18 bytes in 3 entries", h.Details)
	}
	wantKind(t, "Set of a large value", memorybackend.New(&memorybackend.Options{MaxValueBytes: 3}).Set(t.Context(), "k", make([]byte, 4), 1), backends.TooLarge)
}

// Rule: Fail fails every call with the kind, changes nothing, and ends.
func TestFail(t *testing.T) {
	b := memorybackend.New(nil)
	set(t, b, "k", "v", time.Hour)
	peer := b.Peer()
	for _, kind := range []backends.Kind{backends.Transient, backends.Timeout, backends.Auth, backends.CircuitOpen} {
		b.Fail(kind)
		wantKind(t, "Set", b.Set(t.Context(), "k", []byte("new"), time.Hour), kind)
		h := b.Health(t.Context())
		wantKind(t, "Health", h.Err, kind)
		if h.OK || h.Latency <= 0 {
			t.Errorf("Health = %+v", h)
		}
	}
	if v, err := peer.Get(t.Context(), "k"); string(v) != "v" || err != nil {
		t.Errorf("a peer reads %q, %v", v, err)
	}
	b.Resume()
	if v, err := b.Get(t.Context(), "k"); string(v) != "v" || err != nil {
		t.Errorf("Get after Resume = %q, %v", v, err)
	}
}

// Rule: a stalled call ends with its context, with Resume or with Close, and
// takes effect only with Resume.
func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memorybackend.New(nil)
		b.Stall()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := b.Set(ctx, "k", []byte("abandoned"), time.Hour); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("Set = %v after %v", err, time.Since(began))
		}
		done := make(chan error, 1)
		go func() { done <- b.Set(context.Background(), "k", []byte("patient"), time.Hour) }()
		synctest.Wait()
		if ok, _ := b.Peer().Exists(t.Context(), "k"); ok {
			t.Error("a stalled Set took effect")
		}
		b.Stall() // a second one changes nothing
		b.Resume()
		if err := <-done; err != nil {
			t.Errorf("Set after Resume = %v", err)
		}
		if v, _ := b.Get(t.Context(), "k"); string(v) != "patient" {
			t.Errorf("the storage has %q", v)
		}
		b.Stall()
		go func() { done <- b.Set(context.Background(), "k", []byte("late"), time.Hour) }()
		synctest.Wait()
		b.Close()
		if err := <-done; !errors.Is(err, backends.ErrClosed) {
			t.Errorf("a stalled Set after Close = %v", err)
		}
	})
}

// Rule: Intercept sees every call with its key, and its error is the call's.
func TestIntercept(t *testing.T) {
	b := memorybackend.New(nil)
	var seen []string
	lost := errors.New("lost")
	b.Intercept(func(_ context.Context, op, key string) error {
		seen = append(seen, op+" "+key)
		switch key {
		case "bad":
			return lost
		case "full":
			return &backends.Error{Op: op, Backend: "memory", Kind: backends.Overload}
		case "late":
			return context.DeadlineExceeded
		}
		return nil
	})
	errs := b.SetMany(t.Context(), []backends.Item{{Key: "good", TTL: 1}, {Key: "bad", TTL: 1}, {Key: "full", TTL: 1}, {Key: "late", TTL: 1}})
	if errs[0] != nil || !errors.Is(errs[1], lost) || errs[3] != context.DeadlineExceeded {
		t.Errorf("SetMany = %v", errs)
	}
	wantKind(t, "the plain error", errs[1], backends.Transient)
	wantKind(t, "the error with a kind", errs[2], backends.Overload)
	b.Delete(t.Context(), "good")
	b.Health(t.Context())
	if want := []string{"set good", "set bad", "set full", "set late", "delete good", "health "}; !slices.Equal(seen, want) {
		t.Errorf("it saw %q, want %q", seen, want)
	}
	b.Intercept(nil)
	if err := b.Set(t.Context(), "bad", nil, time.Hour); err != nil || len(seen) != 6 {
		t.Errorf("after Intercept(nil): %v, %d calls seen", err, len(seen))
	}
}

// Rule: the rules of another storage can be put on.
func TestKeyRules(t *testing.T) {
	b := memorybackend.New(&memorybackend.Options{KeyRules: backends.KeyRules{MaxBytes: 5}})
	var refused *backends.KeyError
	if err := b.Set(t.Context(), "123456", nil, time.Hour); !errors.As(err, &refused) {
		t.Errorf("Set = %v, want *KeyError", err)
	}
	if b.KeyRules().MaxBytes != 5 || b.Peer().KeyRules().MaxBytes != 5 {
		t.Error("KeyRules are not those of the options")
	}
}

func TestNegativeSizesPanic(t *testing.T) {
	for _, o := range []memorybackend.Options{{MaxBytes: -1}, {MaxValueBytes: -1}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("New with %+v does not panic", o)
				}
			}()
			memorybackend.New(&o)
		}()
	}
}

// Rule: in a bubble of synctest, a cache and this backend share the fake clock.
func TestWithACacheInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memorybackend.New(nil)
		cache, err := secure.New(t.Context(), &secure.Options{Backend: b, MasterKey: keys.Generate()})
		if err != nil {
			t.Fatal(err)
		}
		defer cache.Close()
		if err := cache.SetTTL(t.Context(), "k", "value", time.Minute); err != nil {
			t.Fatal(err)
		}
		var v string
		for after, want := range []bool{true, false} {
			time.Sleep(time.Duration(after) * time.Minute)
			if found, err := cache.Get(t.Context(), "k", &v); found != want || err != nil {
				t.Errorf("after %d minutes, Get = %t, %v", after, found, err)
			}
		}
	})
}

// Example tests what a program does when its storage is down, and what when
// somebody tampered with it.
func Example() {
	ctx := context.Background()
	clock := memorybackend.NewClock(time.Now())
	backend := memorybackend.New(&memorybackend.Options{Clock: clock})
	cache, err := secure.New(ctx, &secure.Options{Backend: backend, MasterKey: keys.Generate(), NoL1: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cache.Close()
	users := secure.For[string](cache)
	fetch := func(context.Context) (string, error) { return "Ada", nil }

	backend.Fail(backends.Transient)
	user, err := users.GetOrLoad(ctx, "42", fetch)
	fmt.Println("down:", user, err)

	backend.Resume()
	user, err = users.GetOrLoad(ctx, "42", fetch)
	fmt.Println("back:", user, err)

	sealed, err := backend.Get(ctx, "42")
	fmt.Println("in clear:", strings.Contains(string(sealed), "Ada"), err)
	sealed[len(sealed)-1] ^= 1
	err = backend.Set(ctx, "42", sealed, time.Hour)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = users.GetOrLoad(ctx, "42", fetch)
	fmt.Println("tampered:", errors.Is(err, secure.ErrAuth))

	clock.Advance(time.Hour)
	_, found, err := users.Get(ctx, "42")
	fmt.Println("an hour later:", found, err)
	// Output:
	// down: Ada <nil>
	// back: Ada <nil>
	// in clear: false <nil>
	// tampered: true
	// an hour later: false <nil>
}
