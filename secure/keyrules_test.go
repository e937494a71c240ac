package secure_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/memorybackend"
	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/secure"
)

// narrow declares rules that the storage behind it does not enforce itself, so
// that what passes them shows.
var narrow = backends.KeyRules{MaxBytes: 24, Refuse: func(key string) string {
	if strings.Contains(key, " ") {
		return "key has a space"
	}
	return ""
}}

type batching struct{ *memorybackend.Backend }

func (batching) KeyRules() backends.KeyRules { return narrow }

type single struct{ backends.Backend }

func (single) KeyRules() backends.KeyRules { return narrow }

// Rule: a key that the backend's KeyRules cannot hold is ErrKey from every
// operation, fails alone in a batch, runs no loader, and reaches no backend.
func TestKeyRulesAreEnforcedBeforeAnythingIsSent(t *testing.T) {
	bad := []string{"a b", strings.Repeat("x", 25), strings.Repeat("x", 22), "", "a\nb", "a:lock"} // the third has 25 bytes with "in:"
	for name, wrap := range map[string]func(*memorybackend.Backend) backends.Backend{
		"batcher": func(b *memorybackend.Backend) backends.Backend { return batching{b} },
		"single":  func(b *memorybackend.Backend) backends.Backend { return single{struct{ backends.Backend }{b}} },
	} {
		for _, noL1 := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				storage := memorybackend.New(nil)
				var mu sync.Mutex
				sent := map[string]bool{}
				storage.Intercept(func(_ context.Context, _, key string) error {
					mu.Lock()
					defer mu.Unlock()
					sent[key] = true
					return nil
				})
				c, err := secure.New(t.Context(), &secure.Options{Backend: wrap(storage), MasterKey: key(t, "1"), Namespace: "in", NoL1: noL1})
				if err != nil {
					t.Fatal(err)
				}
				for _, k := range bad {
					everyOperationRefuses(t, c, k)
				}
				c.Close() // waits for locks that are given back in the background
				for k := range sent {
					if k != "in:good" {
						t.Errorf("a call was sent with a key of %d bytes", len(k))
					}
				}
				if !sent["in:good"] {
					t.Error("the good keys of the batches were not sent either")
				}
			})
		}
	}
}

func everyOperationRefuses(t *testing.T, c *secure.Cache, k string) {
	t.Helper()
	ctx := t.Context()
	view := secure.For[string](c)
	var v string
	check := func(op string, err error) {
		t.Helper()
		var e *backends.KeyError
		if !errors.Is(err, secure.ErrKey) || !errors.As(err, &e) {
			t.Errorf("%s with a key of %d bytes = %v, want ErrKey", op, len(k), err)
		}
	}
	load := func(context.Context) (string, error) { t.Error("the loader ran"); return "", nil }
	_, err := c.Get(ctx, k, &v)
	check("Get", err)
	check("Set", c.Set(ctx, k, "v"))
	check("SetTTL", c.SetTTL(ctx, k, "v", secure.NoExpiry))
	_, err = c.Delete(ctx, k)
	check("Delete", err)
	_, err = c.Exists(ctx, k)
	check("Exists", err)
	_, err = view.GetOrLoad(ctx, k, load)
	check("GetOrLoad", err)

	failsAlone := func(op string, err error) {
		t.Helper()
		var batch *secure.BatchError
		if !errors.As(err, &batch) || len(batch.Errors()) != 1 {
			t.Errorf("%s = %v, want the error of one key", op, err)
			return
		}
		check(op, batch.Errors()[k])
	}
	failsAlone("SetMany", view.SetMany(ctx, map[string]string{k: "v", "good": "v"}))
	got, err := view.GetMany(ctx, []string{k, "good"})
	failsAlone("GetMany", err)
	if got["good"] != "v" {
		t.Errorf("GetMany has %d good values", len(got))
	}
	n, err := c.DeleteMany(ctx, []string{"good", k})
	failsAlone("DeleteMany", err)
	if n != 1 {
		t.Errorf("DeleteMany removed %d entries, want 1", n)
	}
	got, err = view.GetOrLoadMany(ctx, []string{k, "good"}, func(_ context.Context, missing []string) (map[string]string, error) {
		if len(missing) != 1 || missing[0] != "good" {
			t.Errorf("the loader is asked for %d keys", len(missing))
		}
		return map[string]string{"good": "loaded"}, nil
	})
	failsAlone("GetOrLoadMany", err)
	if got["good"] != "loaded" {
		t.Errorf("GetOrLoadMany has %d good values", len(got))
	}
}

// Rule: the key of an operation is judged like any other, and hidden names are
// judged as they are stored.
func TestKeyRulesSeeTheStorageKey(t *testing.T) {
	storage := memorybackend.New(nil)
	c, err := secure.New(t.Context(), &secure.Options{Backend: batching{storage}, MasterKey: key(t, "1")})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	op, err := c.Op("users", "get_user")
	if err != nil {
		t.Fatal(err)
	}
	get := secure.Func(op, func(context.Context, int) (string, error) { t.Error("the function ran"); return "", nil })
	if _, err := get(t.Context(), 1); !errors.Is(err, secure.ErrKey) {
		t.Errorf("a function's key beyond the rules = %v, want ErrKey", err)
	}

	name, err := keys.ParseNameSecret(strings.Repeat("2", 64))
	if err != nil {
		t.Fatal(err)
	}
	wide := memorybackend.New(&memorybackend.Options{KeyRules: backends.KeyRules{MaxBytes: 100}})
	hidden, err := secure.New(t.Context(), &secure.Options{Backend: wide, MasterKey: key(t, "1"), KeyNameSecret: name})
	if err != nil {
		t.Fatal(err)
	}
	defer hidden.Close()
	if err := hidden.Set(t.Context(), strings.Repeat("x", 1000), "v"); err != nil {
		t.Errorf("a long key whose name is hidden = %v", err)
	}
}
