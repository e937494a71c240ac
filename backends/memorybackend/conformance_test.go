package memorybackend_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/backendtest"
	"github.com/cachekit-io/cachekit-go/backends/memorybackend"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var capabilities = []string{"Batcher", "BatchReader", "EntryReader", "TTLer", "Locker", "BatchLocker", "Scanner", "Swapper", "BatchSwapper", "Rewriter", "Replacer", "KeyRuler", "Watcher"}

func subject(b *memorybackend.Backend) backendtest.Subject {
	return backendtest.Subject{
		Backend: b,
		Other:   func(testing.TB) backends.Backend { return b.Peer() },
		Stall:   b.Stall,
		Resume:  b.Resume,
		Kill:    func() { b.Fail(backends.Transient) },
		Raw:     func(_ testing.TB, key string) []byte { return b.Stored(key) },
	}
}

func TestConformance(t *testing.T) {
	backendtest.Run(t, backendtest.Harness{Want: capabilities, Open: func(testing.TB) backendtest.Subject {
		return subject(memorybackend.New(nil))
	}})
}

func TestConformanceOnAClock(t *testing.T) {
	const limit = 1 << 20
	backendtest.Run(t, backendtest.Harness{Want: capabilities, MaxValue: limit, Open: func(testing.TB) backendtest.Subject {
		clock := memorybackend.NewClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
		s := subject(memorybackend.New(&memorybackend.Options{Clock: clock, MaxValueBytes: limit}))
		s.Advance = clock.Advance
		return s
	}})
}
