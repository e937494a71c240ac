// Package beside measures a backend beside the bare client of its storage. Both
// run in one process, by turns, so that both meet the same noise.
//
//	go test -run '^$' -bench Beside -benchtime 31x -timeout 2h -p 1 ./backends/...
//
// prints a line for each operation, size of values and number of callers:
//
//	ratio        wall time of the bare client by ours; above 1, ours is faster
//	cpu-ratio    the same of the CPU time of this process, which other processes disturb less
//	bare-us      wall time by calls of the bare client; with 16 callers, of the whole
//	ours-us      ours
//	bare-allocs  allocations of a call, and of the server where that runs in the process
//	ours-allocs  ours
//
// Ratios are medians over rounds, of which a longer -benchtime has more.
package beside

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Batch is how many keys the batches have.
const Batch = 100

// Case is one operation. Its functions are given numbers that go round through
// [0, Keys) and are called by several goroutines.
type Case struct {
	Name       string
	Bare, Ours func(i int) error
}

// Keys is how many keys a case works on, so that callers seldom meet on one.
const Keys = 256

// Table runs, for values of 64 B, 1 KiB and 64 KiB, each of the cases by 1 and by
// 16 callers.
func Table(b *testing.B, cases func(size int) []Case) {
	for _, size := range []int{64, 1 << 10, 64 << 10} {
		for _, c := range cases(size) {
			for _, callers := range []int{1, 16} {
				b.Run(fmt.Sprintf("%s/%dB/x%d", c.Name, size, callers), func(b *testing.B) { c.Run(b, callers) })
			}
		}
	}
}

// Many makes a batch of calls of f as package store does on a backend that cannot
// batch itself: 16 at a time.
func Many(f func(i int) error) func(int) error {
	return func(int) error {
		var next atomic.Int64
		var wg sync.WaitGroup
		errs := make([]error, 16)
		for w := range errs {
			wg.Go(func() {
				for i := int(next.Add(1)) - 1; i < Batch && errs[w] == nil; i = int(next.Add(1)) - 1 {
					errs[w] = f(i)
				}
			})
		}
		wg.Wait()
		return errors.Join(errs...)
	}
}

// cost is what n calls took.
type cost struct {
	wall, cpu time.Duration
	allocs    uint64
}

func (c cost) plus(d cost) cost { return cost{c.wall + d.wall, c.cpu + d.cpu, c.allocs + d.allocs} }

// Run measures in rounds: one of the two, twice the other, the one again. Who goes
// first alternates.
func (c Case) Run(b *testing.B, callers int) {
	n := c.calls(b, callers)
	var bare, ours []cost
	for b.Loop() {
		x, y := c.Bare, c.Ours
		if len(bare)%2 == 1 {
			x, y = y, x
		}
		first := measure(b, callers, n, x)
		second := measure(b, callers, 2*n, y)
		first = first.plus(measure(b, callers, n, x))
		if len(bare)%2 == 1 {
			first, second = second, first
		}
		bare, ours = append(bare, first), append(ours, second)
	}
	b.ReportMetric(0, "ns/op")
	for _, side := range []struct {
		name  string
		costs []cost
	}{{"bare", bare}, {"ours", ours}} {
		per := func(v func(cost) float64) float64 {
			return median(len(bare), func(i int) float64 { return v(side.costs[i]) / float64(2*n) })
		}
		b.ReportMetric(per(func(c cost) float64 { return float64(c.wall) / 1e3 }), side.name+"-us")
		b.ReportMetric(per(func(c cost) float64 { return float64(c.allocs) }), side.name+"-allocs")
	}
	b.ReportMetric(median(len(bare), func(i int) float64 { return float64(bare[i].wall) / float64(ours[i].wall) }), "ratio")
	if ours[0].cpu > 0 {
		b.ReportMetric(median(len(bare), func(i int) float64 { return float64(bare[i].cpu) / float64(ours[i].cpu) }), "cpu-ratio")
	}
}

// calls returns how many calls take some 10 ms, once both have been warmed up.
func (c Case) calls(b *testing.B, callers int) int {
	measure(b, callers, callers, c.Ours)
	measure(b, callers, callers, c.Bare)
	for n := callers; ; n *= 2 {
		if measure(b, callers, n, c.Bare).wall > 10*time.Millisecond || b.Failed() {
			return n
		}
	}
}

// measure makes n calls of f by some callers.
func measure(b *testing.B, callers, n int, f func(int) error) cost {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	before := now()
	for range callers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := f(i % Keys); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	after := now()
	if b.Failed() {
		b.FailNow()
	}
	return cost{after.wall - before.wall, after.cpu - before.cpu, after.allocs - before.allocs}
}

var epoch = time.Now()

func now() cost {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return cost{time.Since(epoch), CPUTime(), m.Mallocs}
}

func median(n int, v func(int) float64) float64 {
	all := make([]float64, n)
	for i := range all {
		all[i] = v(i)
	}
	return Median(all)
}

// Median returns the median of v, which it sorts: the upper one of two.
func Median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}
