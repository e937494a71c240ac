package secure_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/cachekit-io/cachekit-go/codec"
	"github.com/cachekit-io/cachekit-go/secure"
)

// plantings are ways in which a storage, or somebody who can write to it,
// presents bytes that were not sealed for the key that is read.
func plantings(t *testing.T, f *fake, c *secure.Cache) map[string][]byte {
	t.Helper()
	set := func(c *secure.Cache, k string) []byte {
		t.Helper()
		if err := c.Set(t.Context(), k, alice); err != nil {
			t.Fatal(err)
		}
		return f.raw(k)
	}
	sealed := set(c, "other")
	plain, err := codec.Marshal(alice)
	if err != nil {
		t.Fatal(err)
	}
	frame, _ := hex.DecodeString("434b030000004d7b2273223a202264656661756c74222c20226d223a207b22666f726d6174223a20226d73677061636b222c2022636f6d70726573736564223a2066616c73657d2c202276223a2022322e30227d68656c6c6f2c2063616368656b697421")
	ours := set(c, "k")
	flipped := bytes.Clone(ours)
	flipped[len(flipped)/2] ^= 1
	return map[string][]byte{
		"a flipped bit": flipped, "a truncated entry": ours[:len(ours)-1], "half an entry": ours[:len(ours)/2], "nothing": {}, "a trailing byte": append(bytes.Clone(ours), 0),
		"the entry of another key": sealed, "planted plaintext": plain, "a Python frame": frame,
		"an entry of another tenant":   set(open(t, f, func(o *secure.Options) { o.Tenant = "acme" }), "k"),
		"an entry of another key ring": set(open(t, f, func(o *secure.Options) { o.MasterKey = key(t, "9") }), "k"),
		"an interop/v2 entry":          set(open(t, f, func(o *secure.Options) { o.InteropV2 = true }), "k"),
		"an entry of another namespace": func() []byte {
			other := open(t, f, func(o *secure.Options) { o.Namespace = "ns1" })
			if err := other.Set(t.Context(), "k", alice); err != nil {
				t.Fatal(err)
			}
			return f.raw("ns1:k")
		}(),
	}
}

func TestTamperingIsAnErrorAndNeverAMiss(t *testing.T) {
	f := newFake()
	log := new(logs)
	c := open(t, f, func(o *secure.Options) { o.NoL1, o.Logger = true, log.logger() })
	for name, planted := range plantings(t, f, c) {
		t.Run(name, func(t *testing.T) {
			f.plant("k", planted)
			before := c.Stats().AuthFailures
			got := user{"unchanged", 1}
			found, err := c.Get(t.Context(), "k", &got)
			onlyAuth(t, "Get", err)
			if found {
				t.Error("found")
			}
			load := func(context.Context) (user, error) { t.Error("the loader ran"); return user{}, nil }
			v := secure.For[user](c)
			_, err = v.GetOrLoad(t.Context(), "k", load)
			onlyAuth(t, "GetOrLoad", err)
			many, err := v.GetMany(t.Context(), []string{"k", "other"})
			onlyAuth(t, "GetMany", err)
			if many["other"] != alice {
				t.Error("the other key of the batch is lost")
			}
			_, err = v.GetOrLoadMany(t.Context(), []string{"k"}, func(context.Context, []string) (map[string]user, error) { t.Error("the loader ran"); return nil, nil })
			onlyAuth(t, "GetOrLoadMany", err)
			if !bytes.Equal(f.raw("k"), planted) {
				t.Error("the entry was evicted or replaced")
			}
			if n := c.Stats().AuthFailures - before; n != 4 {
				t.Errorf("%d failures counted, want 4", n)
			}
		})
	}
	if text := log.String(); !strings.Contains(text, "failed authentication") || strings.Contains(text, "alice") {
		t.Errorf("the log is silent, or shows a value: %s", text)
	}
}

// onlyAuth checks that err is ErrAuth and of no other class.
func onlyAuth(t *testing.T, op string, err error) {
	t.Helper()
	if !errors.Is(err, secure.ErrAuth) {
		t.Errorf("%s: got %v, want ErrAuth", op, err)
	}
	for _, other := range []error{secure.ErrMalformed, secure.ErrType, secure.ErrUnavailable, secure.ErrBackend, secure.ErrClosed, secure.ErrConfig, secure.ErrTooLarge, secure.ErrKey, secure.ErrAbsent} {
		if errors.Is(err, other) {
			t.Errorf("%s: the error is also %v", op, other)
		}
	}
}

func TestRecompute(t *testing.T) {
	f := newFake()
	c := open(t, f, func(o *secure.Options) { o.OnTamper = secure.Recompute })
	f.plant("k", []byte("forged"))
	got, err := secure.For[user](c).GetOrLoad(t.Context(), "k", func(context.Context) (user, error) { return alice, nil })
	if err != nil || got != alice || c.Stats().AuthFailures != 1 {
		t.Errorf("got %+v, %v, %d failures", got, err, c.Stats().AuthFailures)
	}
	var out user
	if found, err := c.Get(t.Context(), "k", &out); !found || err != nil {
		t.Errorf("the entry was not replaced: %v, %v", found, err)
	}
	f.plant("k2", []byte("forged"))
	if _, err := c.Get(t.Context(), "k2", &out); !errors.Is(err, secure.ErrAuth) {
		t.Errorf("Get: got %v, want ErrAuth whatever OnTamper says", err)
	}
	f.plant("k3", []byte("forged"))
	many, err := secure.For[user](c).GetOrLoadMany(t.Context(), []string{"k3"}, func(context.Context, []string) (map[string]user, error) {
		return map[string]user{"k3": alice}, nil
	})
	if err != nil || many["k3"] != alice {
		t.Errorf("batch: got %+v, %v", many, err)
	}
}

// An L1 copy is authenticated before it is made, so what lies in the backend
// afterwards does not matter to hits; a copy made by a read never holds bytes
// that did not open.
func TestForgeriesDoNotReachL1(t *testing.T) {
	f := newFake()
	c := open(t, f, nil)
	if err := c.Set(t.Context(), "k", alice); err != nil {
		t.Fatal(err)
	}
	good := f.raw("k")
	other := open(t, f, nil) // with an empty L1
	f.plant("k", []byte("forged"))
	var out user
	if found, err := c.Get(t.Context(), "k", &out); !found || err != nil {
		t.Errorf("a good copy is not served: %v", err)
	}
	for range 2 {
		if _, err := other.Get(t.Context(), "k", &out); !errors.Is(err, secure.ErrAuth) {
			t.Errorf("got %v, want ErrAuth each time", err)
		}
	}
	f.plant("k", good)
	if found, err := other.Get(t.Context(), "k", &out); !found || err != nil {
		t.Errorf("the error outlives the forgery: %v", err)
	}
}

// Authenticated bytes can still be no value: written by a peer's bug, or of
// another type. Those are other errors.
func TestAuthenticButWrong(t *testing.T) {
	f := newFake()
	c := open(t, f, nil)
	if err := c.Set(t.Context(), "k", []int{1, 2}); err != nil {
		t.Fatal(err)
	}
	var out user
	if _, err := c.Get(t.Context(), "k", &out); !errors.Is(err, secure.ErrType) || errors.Is(err, secure.ErrAuth) || errors.Is(err, secure.ErrMalformed) {
		t.Errorf("another type: got %v, want ErrType", err)
	}
	if _, err := c.Get(t.Context(), "k", out); !errors.Is(err, secure.ErrType) {
		t.Errorf("no pointer: got %v, want ErrType", err)
	}
	if err := c.Set(t.Context(), "k", make(chan int)); !errors.Is(err, secure.ErrType) {
		t.Errorf("a channel: got %v, want ErrType", err)
	}
	var list []int
	if found, err := c.Get(t.Context(), "k", &list); !found || err != nil || len(list) != 2 {
		t.Errorf("a refused Set changed the entry: %v, %v", list, err)
	}
	for _, v := range []any{nil, (*user)(nil)} {
		if err := c.Set(t.Context(), "nil", v); err != nil {
			t.Fatal(err)
		}
		p := &user{}
		if found, err := c.Get(t.Context(), "nil", &p); !found || err != nil || p != nil {
			t.Errorf("a stored nil: %v, %v, %v; it is a value and no miss", p, found, err)
		}
	}
}

// No error, log line or other text may hold a key, a value or a secret.
func TestNothingLeaksIntoText(t *testing.T) {
	const secretKey, secretValue = "canary-key-7741", "canary-value-9182"
	f := newFake()
	log := new(logs)
	c := open(t, f, func(o *secure.Options) { o.Logger, o.NoL1 = log.logger(), true })
	ctx, v := t.Context(), secure.For[int](c)
	var texts []string
	note := func(err error) {
		t.Helper()
		if err == nil {
			t.Fatal("no error where one was expected")
		}
		texts = append(texts, err.Error(), sprint(err))
	}
	if err := c.Set(ctx, secretKey, secretValue); err != nil {
		t.Fatal(err)
	}
	_, _, err := v.Get(ctx, secretKey) // a string into an int
	note(err)
	_, err = v.GetMany(ctx, []string{secretKey, secretKey + "\n"})
	note(err)
	note(c.Set(ctx, secretKey+"\x00", secretValue))
	note(c.Set(ctx, secretKey, map[string]any{secretValue: make(chan int)}))
	f.plant(secretKey, []byte(secretValue))
	_, _, err = v.Get(ctx, secretKey)
	note(err)
	_, err = v.GetMany(ctx, []string{secretKey})
	note(err)
	f.setFault(outage)
	_, _, err = v.Get(ctx, secretKey)
	note(err)
	note(v.SetMany(ctx, map[string]int{secretKey: 1}))
	_, err = c.DeleteMany(ctx, []string{secretKey})
	note(err)
	if _, err := v.GetOrLoad(ctx, secretKey, func(context.Context) (int, error) { return 1, nil }); err != nil {
		t.Fatal(err)
	}
	_, err = v.GetOrLoad(ctx, secretKey, func(context.Context) (int, error) { panic(secretValue) })
	texts = append(texts, err.Error())
	op, err := c.Op("users", "get")
	if err != nil {
		t.Fatal(err)
	}
	_, err = op.Key(secretValue, make(chan int))
	note(err)
	for _, text := range append(texts, log.String()) {
		if strings.Contains(text, "canary") || strings.Contains(text, strings.Repeat("1", 32)) {
			t.Errorf("leaks: %s", text)
		}
	}
	if !strings.Contains(log.String(), "entry=") {
		t.Error("the log names no entry by its label")
	}
}
