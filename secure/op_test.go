package secure_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/cachekit-io/cachekit-go/secure"
)

// The keys are the family's published ones (interop-mode.json).
func TestOperationsUseTheFamilysKeys(t *testing.T) {
	f := newFake()
	c := open(t, f, func(o *secure.Options) { o.Namespace = "unrelated" })
	op, err := c.Op("users", "get_all")
	if err != nil {
		t.Fatal(err)
	}
	const want = "users:get_all:8064bf5f945dba521b017bb3f32b31a293a6e16944838d171ea9e77fab085e8e"
	if got, err := op.Key(); err != nil || got != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
	if err := op.Set(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	if got := f.keys(); len(got) != 1 || got[0] != want {
		t.Errorf("stored under %v, want the interop key alone", got)
	}
	var out user
	if found, err := op.Get(t.Context(), &out); !found || err != nil || out != alice {
		t.Errorf("got %+v, %v, %v", out, found, err)
	}
	if existed, err := op.Delete(t.Context()); !existed || err != nil {
		t.Errorf("Delete: %v, %v", existed, err)
	}
}

func TestFunctions(t *testing.T) {
	f := newFake()
	c := open(t, f, nil)
	op := func(name string) *secure.Op {
		t.Helper()
		op, err := c.Op("calc", name)
		if err != nil {
			t.Fatal(err)
		}
		return op
	}
	calls := 0
	type query struct {
		Name  string `json:"name"`
		Limit int    `json:"limit"`
	}
	zero := secure.Func0(op("zero"), func(context.Context) (int, error) { calls++; return 7, nil })
	one := secure.Func(op("one"), func(_ context.Context, q query) (string, error) { calls++; return q.Name, nil })
	two := secure.Func2(op("two"), func(_ context.Context, a, b int) (int, error) { calls++; return a - b, nil })
	three := secure.Func3(op("three"), func(_ context.Context, a int, b string, ok bool) (user, error) { calls++; return user{b, a}, nil })
	for range 2 {
		n, err0 := zero(t.Context())
		s, err1 := one(t.Context(), query{"q", 3})
		d, err2 := two(t.Context(), 5, 3)
		u, err3 := three(t.Context(), 30, "alice", true)
		if err := errors.Join(err0, err1, err2, err3); err != nil || n != 7 || s != "q" || d != 2 || u != alice {
			t.Fatalf("got %d, %q, %d, %+v, %v", n, s, d, u, err)
		}
	}
	if calls != 4 {
		t.Errorf("%d calls, want one for each function", calls)
	}
	if d, _ := two(t.Context(), 3, 5); d != -2 || calls != 5 {
		t.Errorf("other arguments gave %d after %d calls", d, calls)
	}
	same, err := op("one").Key(map[string]any{"limit": 3, "name": "q"})
	if err != nil || len(f.raw(same)) == 0 {
		t.Errorf("a struct argument is not one map argument (%v)", err)
	}
	bad := secure.Func(op("bad"), func(context.Context, chan int) (int, error) { t.Error("called"); return 0, nil })
	if _, err := bad(t.Context(), nil); !errors.Is(err, secure.ErrType) {
		t.Errorf("an argument outside the model: got %v, want ErrType", err)
	}
	brief := secure.Func0(op("brief").WithTTL(0), func(context.Context) (int, error) { return 1, nil })
	if _, err := brief(t.Context()); !errors.Is(err, secure.ErrTTL) {
		t.Errorf("a TTL of 0: got %v, want ErrTTL", err)
	}
}

func TestOperationsAreValidated(t *testing.T) {
	c := open(t, newFake(), nil)
	for _, bad := range [][2]string{{"Users", "get"}, {"users", "getUser"}, {"", "get"}, {"users", ""}, {"ns", "get"}, {"nsapi", "get"}, {"a..b", "get"}, {"users", "a:b"}, {"users", "get\n"}} {
		if _, err := c.Op(bad[0], bad[1]); !errors.Is(err, secure.ErrConfig) {
			t.Errorf("%q, %q: got %v, want ErrConfig", bad[0], bad[1], err)
		}
	}
	hidden := open(t, newFake(), func(o *secure.Options) { o.KeyNameSecret = secret(t) })
	if _, err := hidden.Op("users", "get"); !errors.Is(err, secure.ErrConfig) || !strings.Contains(err.Error(), "KeyNameSecret") {
		t.Errorf("with hidden names: got %v, want ErrConfig", err)
	}
}

func TestHiddenNames(t *testing.T) {
	f := newFake()
	c := open(t, f, func(o *secure.Options) { o.Namespace, o.KeyNameSecret = "users", secret(t) })
	if err := c.Set(t.Context(), "alice@example.org", 1); err != nil {
		t.Fatal(err)
	}
	stored := f.keys()[0]
	if !strings.HasPrefix(stored, "users:") || len(stored) != len("users:")+64 || strings.Contains(stored, "alice") {
		t.Errorf("stored under %s, want users: and 64 hex digits", stored)
	}
	orders, err := c.Namespace("orders")
	if err != nil {
		t.Fatal(err)
	}
	if err := orders.Set(t.Context(), "alice@example.org", 2); err != nil {
		t.Fatal(err)
	}
	for _, k := range f.keys() {
		if k != stored && strings.TrimPrefix(k, "orders:") == strings.TrimPrefix(stored, "users:") {
			t.Error("one key has the same hash in two namespaces, which links them")
		}
	}
	var out int
	if found, err := c.Get(t.Context(), "alice@example.org", &out); !found || err != nil || out != 1 {
		t.Errorf("got %d, %v, %v", out, found, err)
	}
}
