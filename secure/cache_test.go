package secure_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/filebackend"
	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/secure"
)

func TestSetGetDelete(t *testing.T) {
	b, err := filebackend.Open(filepath.Join(t.TempDir(), "cache"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	ctx := t.Context()
	for name, opts := range map[string]secure.Options{"plain options": {}, "without L1": {NoL1: true}, "in a namespace": {Namespace: "users"}, "interop/v2": {InteropV2: true},
		"hidden names": {KeyNameSecret: secret(t)}, "random nonces": {RandomNonces: true}} {
		t.Run(name, func(t *testing.T) {
			opts.Backend, opts.MasterKey = b, key(t, "1")
			c, err := secure.New(ctx, &opts)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			var got user
			if found, err := c.Get(ctx, name, &got); found || err != nil {
				t.Fatalf("before Set: %v, %v", found, err)
			}
			if err := c.Set(ctx, name, alice); err != nil {
				t.Fatal(err)
			}
			if found, err := c.Get(ctx, name, &got); !found || err != nil || got != alice {
				t.Errorf("got %+v, %v, %v", got, found, err)
			}
			other, err := secure.New(ctx, &opts)
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			if v, found, err := secure.For[user](other).Get(ctx, name); !found || err != nil || v != alice {
				t.Errorf("another cache got %+v, %v, %v", v, found, err)
			}
			if ok, err := c.Exists(ctx, name); !ok || err != nil {
				t.Errorf("Exists: %v, %v", ok, err)
			}
			if ok, err := c.Delete(ctx, name); !ok || err != nil {
				t.Errorf("Delete: %v, %v", ok, err)
			}
			if ok, err := c.Delete(ctx, name); ok || err != nil {
				t.Errorf("second Delete: %v, %v", ok, err)
			}
			if found, err := c.Get(ctx, name, &got); found || err != nil {
				t.Errorf("after Delete: %v, %v", found, err)
			}
			if ok, err := c.Exists(ctx, name); ok || err != nil {
				t.Errorf("Exists after Delete: %v, %v", ok, err)
			}
		})
	}
}

func secret(t testing.TB) keys.NameSecret {
	t.Helper()
	s, err := keys.ParseNameSecret(strings.Repeat("ab", 32))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The storage must see only ciphertext: for every profile and option that
// encrypts, none of the bytes that a backend is ever given show the value.
func TestTheStorageSeesOnlyCiphertext(t *testing.T) {
	const canary = "canary-0123456789-canary"
	build := map[string]func(context.Context, *secure.Options) (*secure.Cache, error){"secure": secure.New, "production": secure.NewProduction, "minimal": secure.NewMinimal}
	options := map[string]func(*secure.Options){
		"default": func(*secure.Options) {}, "no L1": func(o *secure.Options) { o.NoL1 = true }, "v2": func(o *secure.Options) { o.InteropV2 = true },
		"tenant": func(o *secure.Options) { o.Tenant = "acme" }, "namespace": func(o *secure.Options) { o.Namespace = "ns1" },
		"random nonces": func(o *secure.Options) { o.RandomNonces = true }, "recompute": func(o *secure.Options) { o.OnTamper = secure.Recompute },
		"hidden": func(o *secure.Options) { o.KeyNameSecret = secret(t) },
	}
	for profile, build := range build {
		for option, change := range options {
			f := newFake()
			opts := &secure.Options{Backend: f, MasterKey: key(t, "1")}
			change(opts)
			c, err := build(t.Context(), opts)
			if err != nil {
				t.Fatal(err)
			}
			writeEveryWay(t, c, canary, option != "hidden")
			if len(f.writes) < 5 {
				t.Errorf("%s, %s: only %d keys were written", profile, option, len(f.writes))
			}
			for k, written := range f.writes {
				if bytes.Contains(written, []byte("canary")) {
					t.Errorf("%s, %s: the value went to the backend in clear", profile, option)
				}
				if option == "hidden" && strings.Contains(k, "key") {
					t.Errorf("%s: the key went to the backend in clear", profile)
				}
			}
			c.Close()
		}
	}
	f := newFake()
	c, err := secure.NewMinimal(t.Context(), &secure.Options{Backend: f, Plaintext: true})
	if err != nil {
		t.Fatal(err)
	}
	writeEveryWay(t, c, canary, true)
	for _, written := range f.writes {
		if !bytes.Contains(written, []byte("canary")) {
			t.Error("Plaintext does not store plaintext: this test could not fail")
		}
	}
	c.Close()
}

func writeEveryWay(t *testing.T, c *secure.Cache, value string, ops bool) {
	t.Helper()
	ctx, v := t.Context(), secure.For[string](c)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(c.Set(ctx, "key-set", value))
	check(c.SetTTL(ctx, "key-ttl", []byte(value), secure.NoExpiry))
	check(v.SetMany(ctx, map[string]string{"key-many": value, "key-many2": value}))
	load := func(context.Context) (string, error) { return value, nil }
	_, err := v.GetOrLoad(ctx, "key-load", load)
	check(err)
	_, err = v.GetOrLoadMany(ctx, []string{"key-lm"}, func(context.Context, []string) (map[string]string, error) {
		return map[string]string{"key-lm": value}, nil
	})
	check(err)
	if ops {
		op, err := c.Op("users", "get_user")
		check(err)
		check(op.Set(ctx, value, 1))
		_, err = secure.Func0(op, load)(ctx)
		check(err)
	}
}

func TestTTLs(t *testing.T) {
	for _, tc := range []struct {
		name string
		ttl  time.Duration
		ok   bool
	}{
		{"one second", time.Second, true}, {"sub-second", time.Millisecond, true}, {"one nanosecond", 1, true}, {"100 years", 100 * 365 * 24 * time.Hour, true},
		{"nearly overflowing", math.MaxInt64 - 1, true}, {"for ever", secure.NoExpiry, true},
		{"zero", 0, false}, {"negative", -1, false}, {"very negative", math.MinInt64, false},
	} {
		f := newFake()
		c := open(t, f, nil)
		err := c.SetTTL(t.Context(), "k", alice, tc.ttl)
		if tc.ok != (err == nil) || !tc.ok && !errors.Is(err, secure.ErrTTL) {
			t.Errorf("%s: got %v", tc.name, err)
		}
		if !tc.ok && len(f.keys()) > 0 {
			t.Errorf("%s: something was stored", tc.name)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		for name, tc := range map[string]struct {
			build func(context.Context, *secure.Options) (*secure.Cache, error)
			want  time.Duration
		}{"secure": {secure.New, 600 * time.Second}, "production": {secure.NewProduction, 600 * time.Second}, "minimal": {secure.NewMinimal, 300 * time.Second}} {
			f := newFake()
			c, err := tc.build(t.Context(), &secure.Options{Backend: f, MasterKey: key(t, "1")})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Set(t.Context(), "k", alice); err != nil {
				t.Fatal(err)
			}
			if e, err := f.GetEntry(t.Context(), "k"); err != nil || e.TTL != tc.want {
				t.Errorf("%s: stored for %v, want %v", name, e.TTL, tc.want)
			}
			c.Close()
		}
	})
}

func TestValueLimit(t *testing.T) {
	f := newFake()
	c := open(t, f, func(o *secure.Options) { o.MaxValueBytes = 1000 })
	if err := c.Set(t.Context(), "k", make([]byte, 997)); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	if err := c.Set(t.Context(), "k", make([]byte, 998)); !errors.Is(err, secure.ErrTooLarge) {
		t.Errorf("over the limit: got %v, want ErrTooLarge", err)
	}
	big := open(t, f, nil)
	if err := big.Set(t.Context(), "big", make([]byte, 5000)); err != nil {
		t.Fatal(err)
	}
	var out []byte
	if _, err := c.Get(t.Context(), "big", &out); !errors.Is(err, secure.ErrTooLarge) {
		t.Errorf("reading over the limit: got %v, want ErrTooLarge", err)
	}
}

func TestKeys(t *testing.T) {
	c := open(t, newFake(), nil)
	for _, bad := range []string{"", strings.Repeat("k", 1025), "a\nb", "\x00", "a\x7f", "a\u0085b", "\xff", "lock:lock"} {
		var out user
		_, getErr := c.Get(t.Context(), bad, &out)
		_, delErr := c.Delete(t.Context(), bad)
		_, existsErr := c.Exists(t.Context(), bad)
		_, loadErr := secure.For[user](c).GetOrLoad(t.Context(), bad, func(context.Context) (user, error) { t.Error("the loader ran"); return alice, nil })
		_, manyErr := secure.For[user](c).GetMany(t.Context(), []string{bad, "good"})
		for op, err := range map[string]error{"get": getErr, "set": c.Set(t.Context(), bad, alice), "delete": delErr, "exists": existsErr, "load": loadErr, "many": manyErr} {
			var k *backends.KeyError
			if !errors.Is(err, secure.ErrKey) || !errors.As(err, &k) {
				t.Errorf("key of %d bytes: %s: got %v, want ErrKey", len(bad), op, err)
			}
		}
	}
	for _, good := range []string{"k", strings.Repeat("k", 1024), "ключ 🔑", "a/b?c#d%20", "..", "lock"} {
		if err := c.Set(t.Context(), good, alice); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
}

func TestNamespacesAreApart(t *testing.T) {
	f := newFake()
	root := open(t, f, nil)
	a, err := root.Namespace("a")
	if err != nil {
		t.Fatal(err)
	}
	b, _ := root.Namespace("b")
	for name, c := range map[string]*secure.Cache{"a": a, "b": b} {
		if err := c.Set(t.Context(), "k", name); err != nil {
			t.Fatal(err)
		}
	}
	var got string
	if _, err := root.Get(t.Context(), "a:k", &got); err != nil || got != "a" {
		t.Errorf("a cache without a namespace reads %q, %v", got, err)
	}
	if _, err := b.Get(t.Context(), "k", &got); err != nil || got != "b" {
		t.Errorf("b reads %q, %v", got, err)
	}
	for _, bad := range []string{"", "A", "a:b", "ns", "nsapi", "a..b", "a\n", strings.Repeat("a", 65)} {
		if _, err := root.Namespace(bad); !errors.Is(err, secure.ErrConfig) {
			t.Errorf("namespace %q: got %v, want ErrConfig", bad, err)
		}
	}
}

func TestCloseAndHealth(t *testing.T) {
	f := newFake()
	c := open(t, f, nil)
	if h := c.Health(t.Context()); !h.OK || h.BackendType != "fake" || h.Latency <= 0 {
		t.Errorf("%+v", h)
	}
	f.setFault(outage)
	if h := c.Health(t.Context()); h.OK || h.Err == nil {
		t.Errorf("during an outage: %+v", h)
	}
	c.Close()
	c.Close()
	var out user
	_, err := c.Get(t.Context(), "k", &out)
	_, loadErr := secure.For[user](c).GetOrLoad(t.Context(), "k", func(context.Context) (user, error) { return alice, nil })
	_, manyErr := secure.For[user](c).GetMany(t.Context(), []string{"k"})
	for op, err := range map[string]error{"get": err, "set": c.Set(t.Context(), "k", alice), "load": loadErr, "many": manyErr, "health": c.Health(t.Context()).Err} {
		if !errors.Is(err, secure.ErrClosed) {
			t.Errorf("%s after Close: got %v, want ErrClosed", op, err)
		}
	}
	if f.closed {
		t.Error("Close closed a backend that was passed in")
	}
}

func TestStats(t *testing.T) {
	ring, err := keys.NewKeyring(key(t, "2"), key(t, "1"))
	if err != nil {
		t.Fatal(err)
	}
	f := newFake()
	old := open(t, f, nil)
	for i := range 3 {
		if err := old.Set(t.Context(), fmt.Sprint(i), alice); err != nil {
			t.Fatal(err)
		}
	}
	c := open(t, f, func(o *secure.Options) { o.MasterKey, o.Keyring = keys.MasterKey{}, ring })
	var out user
	for _, k := range []string{"0", "1", "2", "none"} {
		c.Get(t.Context(), k, &out)
	}
	c.Set(t.Context(), "new", alice)
	c.Get(t.Context(), "new", &out)
	c.Delete(t.Context(), "new")
	s := c.Stats()
	if s.BackendHits != 3 || s.Misses != 1 || s.Sets != 1 || s.Deletes != 1 || s.Seals != 1 || s.L1.Hits != 1 || s.AuthFailures != 0 {
		t.Errorf("%+v", s)
	}
	if len(s.Keys) != 2 || s.Keys[0].Opened != 1 || s.Keys[1].Opened != 3 {
		t.Errorf("reads by key: %+v; want 1 by the current and 3 by the previous", s.Keys)
	}
	if want, _ := key(t, "1").Fingerprint("default"); s.Keys[1].Fingerprint != want {
		t.Errorf("the previous key is %s, want %s", s.Keys[1].Fingerprint, want)
	}
}
