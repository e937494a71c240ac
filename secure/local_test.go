package secure_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachekit-io/cachekit-go/secure"
)

func TestL1Only(t *testing.T) {
	for name, change := range map[string]func(*secure.Options){
		"encrypted": func(o *secure.Options) { o.MasterKey = key(t, "1") },
		"plaintext": func(o *secure.Options) { o.Plaintext = true },
	} {
		synctest.Test(t, func(t *testing.T) {
			opts := &secure.Options{L1Only: true}
			change(opts)
			c, err := secure.NewProduction(t.Context(), opts)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			v := secure.For[user](c)
			if err := c.SetTTL(t.Context(), "k", alice, time.Minute); err != nil {
				t.Fatal(err)
			}
			var out user
			if found, err := c.Get(t.Context(), "k", &out); !found || err != nil || out != alice {
				t.Errorf("%s: got %+v, %v, %v", name, out, found, err)
			}
			if got, found, err := v.Get(t.Context(), "k"); !found || err != nil || got != alice {
				t.Errorf("%s: view got %+v, %v, %v", name, got, found, err)
			}
			var wrong []int
			if _, err := c.Get(t.Context(), "k", &wrong); !errors.Is(err, secure.ErrType) {
				t.Errorf("%s: another type: got %v, want ErrType", name, err)
			}
			if many, err := v.GetMany(t.Context(), []string{"k", "none"}); len(many) != 1 || err != nil {
				t.Errorf("%s: batch: %v, %v", name, many, err)
			}
			time.Sleep(time.Minute)
			if found, _ := c.Get(t.Context(), "k", &out); found {
				t.Errorf("%s: served past its TTL", name)
			}
			loads := 0
			for range 2 {
				if got, err := v.GetOrLoad(t.Context(), "l", func(context.Context) (user, error) { loads++; return alice, nil }); got != alice || err != nil {
					t.Errorf("%s: load: %+v, %v", name, got, err)
				}
			}
			if ok, _ := c.Exists(t.Context(), "l"); !ok || loads != 1 {
				t.Errorf("%s: exists %v after %d loads", name, ok, loads)
			}
			if ok, _ := c.Delete(t.Context(), "l"); !ok {
				t.Errorf("%s: Delete says there was none", name)
			}
			if ok, _ := c.Exists(t.Context(), "l"); ok {
				t.Errorf("%s: still there", name)
			}
			if h := c.Health(t.Context()); !h.OK || h.BackendType != "l1" || h.Latency <= 0 {
				t.Errorf("%s: %+v", name, h)
			}
			if err := c.Set(t.Context(), "big", make([]byte, 10_000_000)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

func TestL1OnlyRefusesWhatItCannotHold(t *testing.T) {
	c, err := secure.New(t.Context(), &secure.Options{L1Only: true, MasterKey: key(t, "1"), L1Bytes: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Set(t.Context(), "k", 1); err != nil {
		t.Fatal(err)
	}
	if err := c.Set(t.Context(), "k", make([]byte, 20_000)); !errors.Is(err, secure.ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge: Set must not report success for what is not stored", err)
	}
	if ok, _ := c.Exists(t.Context(), "k"); ok {
		t.Error("the former value is still served")
	}
}

func TestPlaintextL1OnlySharesTheValueItself(t *testing.T) {
	c, err := secure.NewMinimal(t.Context(), &secure.Options{L1Only: true, Plaintext: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	v := secure.For[*user](c)
	p := &user{"alice", 30}
	if err := v.Set(t.Context(), "k", p); err != nil {
		t.Fatal(err)
	}
	if got, _, err := v.Get(t.Context(), "k"); got != p || err != nil {
		t.Errorf("got a copy (%v)", err)
	}
	if n := testing.AllocsPerRun(100, func() { v.Get(t.Context(), "k") }); n > 0 {
		t.Errorf("a hit allocates %v times", n)
	}
	ch := make(chan int)
	if err := c.Set(t.Context(), "chan", ch); err != nil {
		t.Errorf("a value that cannot be serialised: %v", err)
	}
	if err := c.Set(t.Context(), "nil", nil); err != nil {
		t.Fatal(err)
	}
	got := &user{}
	if found, err := c.Get(t.Context(), "nil", &got); !found || err != nil || got != nil {
		t.Errorf("a stored nil: %v, %v, %v", got, found, err)
	}
}
