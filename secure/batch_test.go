package secure_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/secure"
)

func TestBatches(t *testing.T) {
	for name, noL1 := range map[string]bool{"with L1": false, "without L1": true} {
		f := newFake()
		c := open(t, f, func(o *secure.Options) { o.Namespace, o.NoL1 = "n", noL1 })
		v := secure.For[int](c)
		values := map[string]int{}
		var keys []string
		for i := range 100 {
			k := fmt.Sprint("k", i)
			keys = append(keys, k)
			values[k] = i
		}
		if err := v.SetMany(t.Context(), values); err != nil {
			t.Fatal(err)
		}
		got, err := v.GetMany(t.Context(), append(slices.Clone(keys), "none", "k1", "k1"))
		if err != nil || len(got) != 100 || got["k7"] != 7 {
			t.Errorf("%s: %d values, %v", name, len(got), err)
		}
		reader := secure.For[int](open(t, f, func(o *secure.Options) { o.Namespace, o.NoL1 = "n", noL1 }))
		if got, err := reader.GetMany(t.Context(), keys); err != nil || len(got) != 100 {
			t.Errorf("%s: another process: %d values, %v", name, len(got), err)
		}
		before := f.readCount()
		reader.GetMany(t.Context(), keys)
		if read := f.readCount() - before; noL1 != (read == 100) {
			t.Errorf("%s: the second batch read the backend %d times", name, read)
		}
		if n, err := v.DeleteMany(t.Context(), append(slices.Clone(keys[:50]), "none")); n != 50 || err != nil {
			t.Errorf("%s: deleted %d, %v", name, n, err)
		}
		if got, _ := v.GetMany(t.Context(), keys); len(got) != 50 {
			t.Errorf("%s: %d left, want 50", name, len(got))
		}
		if got, err := v.GetMany(t.Context(), nil); len(got) != 0 || err != nil {
			t.Errorf("%s: empty batch: %v, %v", name, got, err)
		}
		if err := v.SetMany(t.Context(), nil); err != nil {
			t.Errorf("%s: empty batch: %v", name, err)
		}
	}
}

func TestBatchErrorsNameTheirKeysToCodeOnly(t *testing.T) {
	f := newFake()
	c := open(t, f, func(o *secure.Options) { o.NoL1 = true })
	v := secure.For[int](c)
	if err := v.SetMany(t.Context(), map[string]int{"good": 1, "forged-canary": 2, "down-canary": 3}); err != nil {
		t.Fatal(err)
	}
	f.plant("forged-canary", []byte("forged"))
	f.setFault(func(op, key string) error {
		if strings.HasPrefix(key, "down") {
			return &backends.Error{Op: op, Backend: "fake", Kind: backends.Timeout}
		}
		return nil
	})
	got, err := v.GetMany(t.Context(), []string{"good", "forged-canary", "down-canary", "bad\ncanary", "none"})
	var batch *secure.BatchError
	if !errors.As(err, &batch) || len(got) != 1 || got["good"] != 1 {
		t.Fatalf("got %v, %v", got, err)
	}
	for k, want := range map[string]error{"forged-canary": secure.ErrAuth, "down-canary": secure.ErrUnavailable, "bad\ncanary": secure.ErrKey} {
		if !errors.Is(batch.Errors()[k], want) {
			t.Errorf("%q: got %v, want %v", k, batch.Errors()[k], want)
		}
	}
	if len(batch.Errors()) != 3 || !errors.Is(err, secure.ErrAuth) || !errors.Is(err, secure.ErrUnavailable) {
		t.Errorf("the batch's error is %v", err)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
		if text := fmt.Sprintf(format, err) + fmt.Sprintf(format, *batch); strings.Contains(text, "canary") {
			t.Errorf("%s shows a key: %s", format, text)
		}
	}
	err = v.SetMany(t.Context(), map[string]int{"good": 5, "down-canary": 6})
	if !errors.As(err, &batch) || len(batch.Errors()) != 1 {
		t.Errorf("SetMany: got %v", err)
	}
	if n, err := c.DeleteMany(t.Context(), []string{"good", "down-canary"}); n != 1 || !errors.As(err, &batch) {
		t.Errorf("DeleteMany: got %d, %v", n, err)
	}
}

func TestGetOrLoadMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := open(t, f, nil)
		defer c.Close()
		v := secure.For[string](c)
		v.Set(t.Context(), "stored", "s")
		var mu sync.Mutex
		var asked []string
		load := func(_ context.Context, missing []string) (map[string]string, error) {
			time.Sleep(time.Second)
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, missing...)
			out := map[string]string{}
			for _, k := range missing {
				if k != "absent" {
					out[k] = "loaded " + k
				}
			}
			return out, nil
		}
		var wg sync.WaitGroup
		for range 20 { // overlapping batches share their loads
			wg.Go(func() {
				got, err := v.GetOrLoadMany(t.Context(), []string{"stored", "a", "b", "absent"}, load)
				var batch *secure.BatchError
				if len(got) != 3 || got["a"] != "loaded a" || got["stored"] != "s" || !errors.As(err, &batch) || !errors.Is(batch.Errors()["absent"], secure.ErrAbsent) {
					t.Errorf("got %v, %v", got, err)
				}
			})
		}
		wg.Go(func() {
			if got, err := v.GetOrLoad(t.Context(), "a", func(context.Context) (string, error) { time.Sleep(time.Second); return "loaded a", nil }); got != "loaded a" || err != nil {
				t.Errorf("single: %q, %v", got, err)
			}
		})
		wg.Wait()
		slices.Sort(asked)
		if n := len(slices.Compact(slices.Clone(asked))); n != len(asked) {
			t.Errorf("keys were loaded more than once: %v", asked)
		}
		if got, err := v.GetMany(t.Context(), []string{"a", "b"}); len(got) != 2 || err != nil {
			t.Errorf("not stored: %v, %v", got, err)
		}
		mine := errors.New("mine")
		_, err := v.GetOrLoadMany(t.Context(), []string{"x", "y"}, func(context.Context, []string) (map[string]string, error) { return nil, mine })
		if !errors.Is(err, mine) {
			t.Errorf("a failed load: got %v", err)
		}
		_, err = v.GetOrLoadMany(t.Context(), []string{"x"}, func(context.Context, []string) (map[string]string, error) { panic("x") })
		var p *secure.PanicError
		if !errors.As(err, &p) {
			t.Errorf("a panic: got %v", err)
		}
		if got, err := v.GetOrLoadMany(t.Context(), []string{"x"}, load); got["x"] != "loaded x" || err != nil {
			t.Errorf("the key is poisoned: %v, %v", got, err)
		}
	})
}
