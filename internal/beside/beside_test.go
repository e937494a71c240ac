package beside_test

import (
	"errors"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/beside"
)

var sink atomic.Pointer[[]byte]

// work allocates once and takes some time.
func work(int) error {
	p := make([]byte, 10)
	for start := time.Now(); time.Since(start) < 50*time.Microsecond; {
	}
	sink.Store(&p)
	return nil
}

// Rule: a ratio is the bare client's cost by ours, of one call each.
func TestRatio(t *testing.T) {
	twice := func(i int) error { return errors.Join(work(i), work(i)) }
	for _, callers := range []int{1, 16} {
		for name, c := range map[string]struct {
			c    beside.Case
			more float64 // what ours costs by the bare one
		}{
			"ours is slower": {beside.Case{Bare: work, Ours: twice}, 2},
			"ours is faster": {beside.Case{Bare: twice, Ours: work}, 0.5},
		} {
			m := testing.Benchmark(func(b *testing.B) { c.c.Run(b, callers) }).Extra
			if got := m["ours-allocs"] / m["bare-allocs"]; math.Abs(got/c.more-1) > 0.2 {
				t.Errorf("%s, %d callers: %.2f times the allocations, want %v", name, callers, got, c.more)
			}
			for _, metric := range []string{"ratio", "cpu-ratio"} {
				if got, known := m[metric]; known && (got < 1) != (c.more > 1) {
					t.Errorf("%s, %d callers: %s is %.2f", name, callers, metric, got)
				}
			}
		}
	}
}
