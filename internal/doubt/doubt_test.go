package doubt_test

import (
	"strconv"
	"sync"
	"testing"

	"github.com/cachekit-io/cachekit-go/internal/doubt"
)

func find(k *doubt.Keys, keys ...string) doubt.Marks {
	return k.Find(len(keys), func(i int) string { return keys[i] })
}

// Rule: exactly the keys that were added are in doubt, until they are settled.
func TestFindsWhatWasAdded(t *testing.T) {
	k := doubt.New()
	if got := find(k, "a", "b"); len(got) != 0 {
		t.Errorf("%d doubts at first, want 0", len(got))
	}
	k.Add("a", "b")
	k.Add("c")
	for _, c := range []struct {
		keys []string
		want int
	}{
		{nil, 0}, {[]string{"x"}, 0}, {[]string{"a"}, 1}, {[]string{"a", "a"}, 1}, {[]string{"a", "x", "c"}, 2},
	} {
		if got := find(k, c.keys...); len(got) != c.want {
			t.Errorf("%q: %d doubts, want %d", c.keys, len(got), c.want)
		}
	}
	k.Settle(find(k, "a", "c"))
	if len(find(k, "a", "c")) != 0 || len(find(k, "b")) != 1 {
		t.Error("want b alone in doubt once a and c are settled")
	}
}

// Rule: what failed again while a doubt was being settled stays in doubt.
func TestSettleLeavesRenewedDoubts(t *testing.T) {
	k := doubt.New()
	k.Add("a", "b")
	before := find(k, "a", "b")
	k.Add("a")
	k.Settle(before)
	if len(find(k, "a")) != 1 || len(find(k, "b")) != 0 {
		t.Error("want a, which was renewed, in doubt and b not")
	}
	k.Settle(before)
	if len(find(k, "a")) != 1 {
		t.Error("old marks have settled a later doubt")
	}
	k.Settle(find(k, "a"))
	if len(find(k, "a")) != 0 {
		t.Error("a is in doubt after its renewed doubt was settled")
	}
}

// Rule: no more than Max keys are remembered, and the latest is.
func TestBounded(t *testing.T) {
	k := doubt.New()
	keys := make([]string, 2*doubt.Max)
	for i := range keys {
		keys[i] = strconv.Itoa(i)
		k.Add(keys[i])
		if len(find(k, keys[i])) != 1 {
			t.Fatalf("key %d was forgotten at once", i)
		}
	}
	if got := len(find(k, keys...)); got != doubt.Max {
		t.Errorf("%d keys are remembered, want %d", got, doubt.Max)
	}
}

// Rule: a question costs no memory while nothing is in doubt.
func TestNoDoubtCostsNothing(t *testing.T) {
	k, keys := doubt.New(), []string{"a", "b"}
	k.Add("a")
	k.Settle(find(k, "a"))
	if n := testing.AllocsPerRun(100, func() { find(k, keys...) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func TestConcurrentUse(t *testing.T) {
	k := doubt.New()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			key := strconv.Itoa(i)
			for range 1000 {
				k.Add(key)
				marks := find(k, key)
				if len(marks) != 1 {
					t.Errorf("%d doubts about a key that only this goroutine settles, want 1", len(marks))
				}
				k.Settle(marks)
			}
		})
	}
	wg.Wait()
}
