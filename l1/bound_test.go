package l1_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/cachekit-io/cachekit-go/l1"
)

// Entries are counted as they stand in the table, not as the policy has taken
// note of them: 1 MiB values once stood 9 times over the bound.
func TestBoundHolds(t *testing.T) {
	const limit = 16 << 20
	for _, size := range []int{500, 10_000, 1 << 20, 4 << 20} {
		const writers = 8
		c := l1.New(func(_ string, _ int) int { return size }, &l1.Options{MaxBytes: limit})
		weight := size + 256 // at least
		// What one sixteenth of unsettled writes and an entry in the hands of
		// each writer may add.
		most := (limit + limit/8 + 2*writers*weight) / weight
		var wg sync.WaitGroup
		for g := range writers {
			wg.Go(func() {
				for i := range 3*limit/weight/writers + 200 {
					c.Put(fmt.Sprintf("%d/%d", g, i), 0, minute)
					if i%32 == 0 {
						if s := c.Stats(); s.Entries > most {
							t.Errorf("%d entries of %d bytes stand, at most %d may", s.Entries, size, most)
							return
						}
					}
				}
			})
		}
		wg.Wait()
		s := c.Stats()
		if s.Entries == 0 || s.Evictions == 0 || s.MaxBytes != limit || s.Bytes > limit+limit/8 {
			t.Errorf("values of %d bytes: %+v", size, s)
		}
	}
}

// What is too large pushes out nothing, and what just fits leaves the bound
// in force.
func TestLargeEntries(t *testing.T) {
	const limit, n = 1 << 20, 1000
	c := l1.New(func(_ string, v int) int { return v }, &l1.Options{MaxBytes: limit})
	for i := range n {
		c.Put(fmt.Sprint(i), 500, minute)
	}
	if c.Put("k", limit-256, minute) || c.Stats().Entries != n {
		t.Errorf("an entry larger than the bound was stored or pushed out others: %+v", c.Stats())
	}
	for i := range 10 {
		if !c.Put(fmt.Sprint("large", i), limit-300, minute) {
			t.Error("an entry that just fits was refused")
		}
	}
	if s := c.Stats(); s.Bytes > limit || s.Entries == 0 {
		t.Errorf("%+v", s)
	}
}

// Rule: a writer who is alone leaves nothing to be done by a goroutine, which would
// have to be woken for each of its writes.
func TestAWriterAloneEvicts(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // no other goroutine runs meanwhile
	const bound = 1 << 20
	c := newCache(bound)
	for i := range 5_000 {
		c.Put(fmt.Sprint(i), strings.Repeat("v", 1000), minute)
		if got := c.Stats().Entries; got > bound/1257 {
			t.Fatalf("%d entries stand after %d writes, the bound is %d", got, i+1, bound/1257)
		}
	}
}
