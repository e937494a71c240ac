package secure_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/beside"
	"github.com/cachekit-io/cachekit-go/secure"
	"github.com/cachekit-io/cachekit-go/secure/otelsecure"
)

// compared are the caches whose costs BenchmarkWholeStack compares, the bare one
// first. Each has slots in memory as its backend.
func compared(b *testing.B, noL1 bool) (names []string, caches []*secure.Cache) {
	for _, v := range []struct {
		name     string
		build    constructor
		observer *secure.Observer
	}{
		{"minimal", secure.NewMinimal, nil},
		{"whole", secure.New, nil},
		{"whole+otel", secure.New, otelsecure.Instrument("bench", nil)},
	} {
		c, err := v.build(b.Context(), &secure.Options{Backend: newSlots(2048, "k"), MasterKey: key(b, "1"), NoL1: noL1, Observer: v.observer})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { c.Close() })
		if err := c.Set(b.Context(), "k", newItem(1, 1024)); err != nil {
			b.Fatal(err)
		}
		names, caches = append(names, v.name), append(caches, c)
	}
	return names, caches
}

// BenchmarkWholeStack compares the whole stack (resilience, stats, events and
// OpenTelemetry without listeners) with the minimal profile, in turns, with a
// context that has a deadline. It reports the medians over the rounds of the ns per
// call, and of what was added in the round to those of minimal; and the allocations.
func BenchmarkWholeStack(b *testing.B) {
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	value := newItem(1, 1024)
	var out item
	for _, tc := range []struct {
		name string
		noL1 bool
		call func(c *secure.Cache) error
	}{
		{"L2 get", true, func(c *secure.Cache) error { _, err := c.Get(ctx, "k", &out); return err }},
		{"L2 set", true, func(c *secure.Cache) error { return c.Set(ctx, "k", value) }},
		{"L1 hit", false, func(c *secure.Cache) error { _, err := c.Get(ctx, "k", &out); return err }},
	} {
		b.Run(tc.name, func(b *testing.B) {
			names, caches := compared(b, tc.noL1)
			rounds, added := make([][]float64, len(caches)), make([][]float64, len(caches))
			for n := 0; b.Loop(); n++ {
				for turn := range caches {
					i := (turn + n) % len(caches)
					rounds[i] = append(rounds[i], timed(b, 200, func() error { return tc.call(caches[i]) }))
				}
				for i := range caches {
					added[i] = append(added[i], rounds[i][n]-rounds[0][n])
				}
			}
			b.ReportMetric(0, "ns/op")
			for i, name := range names {
				b.ReportMetric(beside.Median(rounds[i]), name+"-ns")
				if i > 0 {
					b.ReportMetric(beside.Median(added[i]), name+"-added-ns")
				}
				b.ReportMetric(testing.AllocsPerRun(500, func() { _ = tc.call(caches[i]) }), name+"-allocs")
			}
		})
	}
}

// timed returns ns per call of n calls.
func timed(b *testing.B, n int, call func() error) float64 {
	start := time.Now()
	for range n {
		if err := call(); err != nil {
			b.Fatal(err)
		}
	}
	return float64(time.Since(start).Nanoseconds()) / float64(n)
}

// BenchmarkHotKey compares 16 callers of GetOrLoad on one hot key with 16
// callers of Get on the same entry, in turns.
func BenchmarkHotKey(b *testing.B) {
	_, caches := compared(b, false)
	v := secure.For[item](caches[1])
	load := func(context.Context) (item, error) { return item{}, fmt.Errorf("not hot") }
	calls := []func() error{
		func() error { _, _, err := v.Get(b.Context(), "k"); return err },
		func() error { _, err := v.GetOrLoad(b.Context(), "k", load); return err },
	}
	rounds := make([][]float64, 2)
	for b.Loop() {
		for i, call := range calls {
			start := time.Now()
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() { timed(b, 200, call) })
			}
			wg.Wait()
			ns := float64(time.Since(start).Nanoseconds()) / (16 * 200)
			rounds[i] = append(rounds[i], ns)
		}
	}
	for i, name := range []string{"get", "load"} {
		b.ReportMetric(beside.Median(rounds[i]), name+"-ns")
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(rounds[1][len(rounds[1])/2]/rounds[0][len(rounds[0])/2], "ratio")
}
