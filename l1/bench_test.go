package l1_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/maypok86/otter/v2"

	"github.com/cachekit-io/cachekit-go/l1"
)

// BenchmarkHit compares a hit on a layer that is full with bare otter, which
// neither counts nor knows the time.
func BenchmarkHit(b *testing.B) {
	const n, weight = 16_000, 1024
	const bound = n * weight * 5 / 4
	bare := otter.Must(&otter.Options[string, string]{MaximumWeight: bound, Weigher: func(string, string) uint32 { return weight }})
	c := l1.New(func(key, _ string) int { return weight - 256 - len(key) }, &l1.Options{MaxBytes: bound})
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("users:%d", i)
		bare.Set(keys[i], "value")
		c.Put(keys[i], "value", minute)
	}
	endless := newCache(bound)
	for _, key := range keys {
		endless.Put(key, "value", l1.Life{TTL: math.MaxInt64})
	}
	for _, tc := range []struct {
		name string
		get  func(key string) bool
	}{
		{"otter", func(key string) bool { _, ok := bare.GetIfPresent(key); return ok }},
		{"l1", func(key string) bool { v, _ := c.Get(key); return v != nil }},
		{"l1 without expiry", func(key string) bool { v, _ := endless.Get(key); return v != nil }},
	} {
		b.Run(tc.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if !tc.get(keys[i%n]) {
					b.Fatal("a miss")
				}
			}
		})
		b.Run(tc.name+" parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					if !tc.get(keys[i%n]) {
						b.Error("a miss")
						return
					}
				}
			})
		})
	}
}

// BenchmarkWrite is what a Set pays for the layer beside its round trip.
func BenchmarkWrite(b *testing.B) {
	c := newCache(1 << 20)
	b.ReportAllocs()
	for b.Loop() {
		c.Commit(c.Begin("k"), "k", "value", minute)
	}
}
