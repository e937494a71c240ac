package resilient_test

import (
	"context"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/resilient"
)

// instant is a backend that answers at once, so that what is measured is the
// wrapper.
type instant struct {
	*memory
	value []byte
}

func (i *instant) Get(context.Context, string) ([]byte, error) { return i.value, nil }

func (i *instant) Set(context.Context, string, []byte, time.Duration) error { return nil }

// BenchmarkIdle compares calls on a backend that answers at once with the same
// through the wrapper, both with a context that has a deadline.
func BenchmarkIdle(b *testing.B) {
	inner := &instant{memory: newMemory(), value: make([]byte, 1024)}
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	for _, tc := range []struct {
		name    string
		backend backends.Backend
		ctx     context.Context
	}{
		{"bare", inner, ctx},
		{"resilient", wrap(b, inner, nil), ctx},
		{"resilient without a deadline", wrap(b, inner, nil), context.Background()},
		{"resilient without a deadline, cancellable", wrap(b, inner, nil), b.Context()},
		{"resilient switched off", wrap(b, inner, &resilient.Options{Attempts: 1, NoBreaker: true, NoBulkhead: true}), ctx},
	} {
		b.Run("Get/"+tc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tc.backend.Get(tc.ctx, "users:42"); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("Set/"+tc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := tc.backend.Set(tc.ctx, "users:42", inner.value, time.Minute); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkIdleParallel is BenchmarkIdle's Get from several goroutines.
func BenchmarkIdleParallel(b *testing.B) {
	inner := &instant{memory: newMemory(), value: make([]byte, 1024)}
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	for name, backend := range map[string]backends.Backend{"bare": inner, "resilient": wrap(b, inner, nil)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := backend.Get(ctx, "users:42"); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// An idle wrapper allocates nothing, on hits, misses and writes.
func TestIdleCallsDoNotAllocate(t *testing.T) {
	inner := &instant{memory: newMemory(), value: make([]byte, 16)}
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	b := wrap(t, inner, nil)
	missing := wrap(t, empty{newMemory()}, nil)
	for name, call := range map[string]func(){
		"Get":           func() { _, _ = b.Get(ctx, "k") },
		"Set":           func() { _ = b.Set(ctx, "k", inner.value, time.Minute) },
		"Get of a miss": func() { _, _ = missing.Get(ctx, "k") },
	} {
		if n := testing.AllocsPerRun(1000, call); n != 0 {
			t.Errorf("%s: %v allocations, want 0", name, n)
		}
	}
}

type empty struct{ *memory }

func (empty) Get(context.Context, string) ([]byte, error) { return nil, backends.ErrNotFound }
