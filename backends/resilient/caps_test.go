package resilient_test

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/resilient"
)

// plain has no capability at all.
type plain struct{ backends.Backend }

// some has the capabilities that a test names.
type some struct {
	backends.Backend
	caps backends.Caps
}

func (s some) Capabilities() backends.Caps { return s.caps }

// A wrapper has exactly the capabilities of what it wraps, one by one.
func TestCapabilities(t *testing.T) {
	m := newMemory()
	full := reflect.ValueOf(backends.CapabilitiesOf(m))
	if n := len(names(backends.CapabilitiesOf(m))); n != full.NumField() {
		t.Fatalf("the fake has %d of %d capabilities: give it the new one", n, full.NumField())
	}
	if has := names(backends.CapabilitiesOf(plain{m})); len(has) != 0 {
		t.Fatalf("the plain backend has %v", has)
	}
	for mask := range 1 << full.NumField() {
		var caps backends.Caps
		for i := range full.NumField() {
			if mask>>i&1 == 1 {
				reflect.ValueOf(&caps).Elem().Field(i).Set(full.Field(i))
			}
		}
		inner := wrap(t, some{plain{m}, caps}, nil)
		outer := wrap(t, inner, nil)
		if got := names(backends.CapabilitiesOf(outer)); !slices.Equal(got, names(caps)) {
			t.Fatalf("the wrapper has %v, the inner backend %v", got, names(caps))
		}
	}
	if rules := backends.CapabilitiesOf(wrap(t, m, nil)).KeyRuler.KeyRules(); rules.MaxBytes != 77 {
		t.Errorf("the inner backend's rules are lost: %+v", rules)
	}
}

func names(c backends.Caps) (out []string) {
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		if !v.Field(i).IsNil() {
			out = append(out, v.Type().Field(i).Name)
		}
	}
	return out
}

// Every operation that may be retried is, and every one goes through the
// breaker and the bulkhead.
func TestEveryOperationIsGuarded(t *testing.T) {
	ops := map[string]func(ctx context.Context, b *resilient.Backend, c backends.Caps) error{
		"get": func(ctx context.Context, b *resilient.Backend, _ backends.Caps) error {
			_, err := b.Get(ctx, "k")
			return err
		},
		"set": func(ctx context.Context, b *resilient.Backend, _ backends.Caps) error { return b.Set(ctx, "k", nil, 1) },
		"delete": func(ctx context.Context, b *resilient.Backend, _ backends.Caps) error {
			_, err := b.Delete(ctx, "k")
			return err
		},
		"exists": func(ctx context.Context, b *resilient.Backend, _ backends.Caps) error {
			_, err := b.Exists(ctx, "k")
			return err
		},
		"entry": func(ctx context.Context, _ *resilient.Backend, c backends.Caps) error {
			_, err := c.EntryReader.GetEntry(ctx, "k")
			return err
		},
		"many": func(ctx context.Context, _ *resilient.Backend, c backends.Caps) error {
			return c.Batcher.GetMany(ctx, []string{"k"})[0].Err
		},
		"many into memory": func(ctx context.Context, _ *resilient.Backend, c backends.Caps) error {
			return c.BatchReader.ReadMany(ctx, []string{"k"}, func(size int) []byte { return make([]byte, size) })[0].Err
		},
		"ttl": func(ctx context.Context, _ *resilient.Backend, c backends.Caps) error {
			_, err := c.TTLer.TTL(ctx, "k")
			return err
		},
		"touch": func(ctx context.Context, _ *resilient.Backend, c backends.Caps) error {
			_, err := c.TTLer.Touch(ctx, "k", 1)
			return err
		},
		"lock": func(ctx context.Context, _ *resilient.Backend, c backends.Caps) error {
			_, err := c.Locker.Lock(ctx, "k", 1)
			return err
		},
		"unlock": func(ctx context.Context, _ *resilient.Backend, c backends.Caps) error {
			_, err := c.Locker.Unlock(ctx, "k", "t")
			return err
		},
		"scan": func(ctx context.Context, _ *resilient.Backend, c backends.Caps) error {
			_, _, err := c.Scanner.Scan(ctx, "k", "", 0)
			return err
		},
		"swap": func(ctx context.Context, _ *resilient.Backend, c backends.Caps) error {
			_, err := c.Swapper.Swap(ctx, "k", nil, nil)
			return err
		},
	}
	ops["lock many"] = func(ctx context.Context, _ *resilient.Backend, c backends.Caps) error {
		return c.BatchLocker.LockMany(ctx, []string{"k"}, 1)[0].Err
	}
	ops["unlock many"] = func(ctx context.Context, _ *resilient.Backend, c backends.Caps) error {
		return c.BatchLocker.UnlockMany(ctx, []backends.HeldLock{{Key: "k", Token: "t"}})[0].Err
	}
	ops["swap with a TTL"] = func(ctx context.Context, _ *resilient.Backend, c backends.Caps) error {
		_, err := c.Replacer.Replace(ctx, "k", nil, nil, 1)
		return err
	}
	ops["swap many"] = func(ctx context.Context, _ *resilient.Backend, c backends.Caps) error {
		return c.BatchSwapper.SwapMany(ctx, []backends.SwapItem{{Key: "k"}})[0].Err
	}
	ops["swap what was read"] = func(ctx context.Context, _ *resilient.Backend, c backends.Caps) error {
		return c.Rewriter.RewriteMany(ctx, []string{"k"}, func(int, []byte) []byte { return nil }, nil)[0].Err
	}
	for name, op := range ops {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory()
			m.values["k"] = []byte("v")
			m.fail = failTimes(1<<20, failure(backends.Transient))
			b := wrap(t, m, &resilient.Options{Failures: 1, MaxRunning: 1})
			attempts := 3
			if strings.HasPrefix(name, "lock") || strings.HasPrefix(name, "swap") {
				attempts = 1
			}
			err := op(t.Context(), b, b.Capabilities())
			if kindOf(err) != backends.Transient || len(m.calls) != attempts {
				t.Errorf("%s: %v after %d attempts, want %d", name, err, len(m.calls), attempts)
			}
			if err := op(t.Context(), b, b.Capabilities()); kindOf(err) != backends.CircuitOpen || !strings.HasPrefix(err.Error(), "resilient ") {
				t.Errorf("%s: with an open circuit: %v", name, err)
			}
			b = wrap(t, m, &resilient.Options{MaxRunning: 1})
			m.fail = stalls
			go b.Get(t.Context(), "k")
			synctest.Wait()
			if err := op(t.Context(), b, b.Capabilities()); kindOf(err) != backends.Overload {
				t.Errorf("%s: in a full bulkhead: %v", name, err)
			}
			time.Sleep(time.Minute)
		})
	}
}

// Scan passes its arguments and its results.
func TestScanPassesThrough(t *testing.T) {
	b := wrap(t, newMemory(), nil)
	keys, next, err := b.Capabilities().Scanner.Scan(t.Context(), "p", "c", 3)
	if err != nil || next != "cx" || !slices.Equal(keys, []string{"p1", "p2"}) {
		t.Errorf("%v, %q, %v", keys, next, err)
	}
}

// Health asks the storage whatever the circuit says, and says what it is.
func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		b := wrap(t, m, &resilient.Options{Attempts: 1, Failures: 1})
		if h := b.Health(t.Context()); !h.OK || h.BackendType != "memory" || h.Details["circuit"] != "closed" {
			t.Errorf("%+v", h)
		}
		m.fail = failTimes(1, failure(backends.Transient))
		_, _ = b.Get(t.Context(), "k")
		if h := b.Health(t.Context()); !h.OK || h.Details["circuit"] != "open" {
			t.Errorf("with an open circuit: %+v", h)
		}
	})
}

func TestOptions(t *testing.T) {
	if _, err := resilient.New(nil, nil); err == nil {
		t.Error("New without a backend gave no error")
	}
	for _, o := range []resilient.Options{{Timeout: -1}, {BaseDelay: -1}, {MaxDelay: -1}, {Window: -1}, {OpenFor: -1}, {MaxWait: -1},
		{Attempts: -1}, {Failures: -1}, {Probes: -1}, {MaxRunning: -1}, {MaxWaiting: -1}} {
		if _, err := resilient.New(newMemory(), &o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
	synctest.Test(t, func(t *testing.T) { // the largest values do not overflow
		const huge = 1 << 62
		m := newMemory()
		m.fail = failTimes(40, failure(backends.Transient))
		b := wrap(t, m, &resilient.Options{Timeout: backends.NoExpiry, Attempts: 100, BaseDelay: 1, MaxDelay: huge, Failures: huge,
			Window: huge, OpenFor: huge, Probes: huge, MaxRunning: 5, MaxWaiting: huge, MaxWait: huge})
		if _, err := b.Get(t.Context(), "k"); err != backends.ErrNotFound || len(m.calls) != 41 {
			t.Errorf("%v after %d attempts", err, len(m.calls))
		}
	})
	if got := []string{resilient.Closed.String(), resilient.Open.String(), resilient.HalfOpen.String(), resilient.State(0).String()}; !slices.Equal(got, []string{"closed", "open", "half-open", "invalid state"}) {
		t.Errorf("%q", got)
	}
}
