package l1_test

import (
	"sync/atomic"
	"testing"

	"github.com/cachekit-io/cachekit-go/l1"
)

// Whatever would store a copy asks Options.Admit, and stores none that it does
// not admit; what stands is not asked about again.
func TestAdmit(t *testing.T) {
	stores := map[string]func(c *l1.Cache[string]) bool{
		"Put":    func(c *l1.Cache[string]) bool { return c.Put("k", "new", minute) },
		"Fill":   func(c *l1.Cache[string]) bool { return c.Fill(c.Watch("k"), "k", "new", minute) },
		"Commit": func(c *l1.Cache[string]) bool { return c.Commit(c.Begin("k"), "k", "new", minute) },
	}
	for name, store := range stores {
		var admitted string
		c := l1.New(func(_, v string) int { return len(v) }, &l1.Options{Admit: func(key string) bool { return key == admitted }})
		if stored, v := store(c), get(c); stored || v != "" {
			t.Errorf("%s stored %q, which is not admitted", name, v)
		}
		admitted = "k"
		if stored, v := store(c), get(c); !stored || v != "new" {
			t.Errorf("%s did not store what is admitted: %q", name, v)
		}
		admitted = ""
		if get(c) != "new" {
			t.Errorf("%s: what stands is gone", name)
		}
		store(c)
		if want := map[string]string{"Put": "", "Fill": "new", "Commit": ""}[name]; get(c) != want {
			t.Errorf("%s that is not admitted leaves %q, want %q", name, get(c), want)
		}
	}
}

// Void makes pending fills and commits void, of whatever key, and leaves what
// stands; what begins after it stores.
func TestVoid(t *testing.T) {
	c := newCache(1 << 20)
	c.Put("k", "stands", minute)
	read, write := c.Watch("other"), c.Begin("third")
	c.Void()
	if c.Fill(read, "other", "v", minute) || c.Commit(write, "third", "v", minute) {
		t.Error("a copy was stored that was pending at Void")
	}
	if get(c) != "stands" {
		t.Errorf("what stood is %q", get(c))
	}
	if !c.Fill(c.Watch("other"), "other", "v", minute) || !c.Commit(c.Begin("third"), "third", "v", minute) {
		t.Error("nothing is stored after Void")
	}
}

// A change of Admit's mind that Flush or Void follows holds for what was pending:
// no copy that was admitted before stands after the Flush.
func TestAdmitChangesItsMind(t *testing.T) {
	for range 200 {
		var closed atomic.Bool
		c := l1.New(func(_, v string) int { return len(v) }, &l1.Options{Admit: func(string) bool { return !closed.Load() }})
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 50 {
				c.Fill(c.Watch("k"), "k", "old", minute)
				c.Commit(c.Begin("k"), "k", "old", minute)
			}
		}()
		closed.Store(true)
		c.Flush()
		if v := get(c); v != "" {
			t.Fatalf("%q stands after the flush", v)
		}
		<-done
		if v := get(c); v != "" {
			t.Fatalf("%q was stored after the flush", v)
		}
	}
}

func get(c *l1.Cache[string]) string {
	v, _ := c.Get("k")
	if v == nil {
		return ""
	}
	return *v
}
