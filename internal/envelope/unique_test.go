package envelope_test

import (
	"encoding/binary"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/envelope"
)

// All seals of a Box take their nonces from one start, so a bit for each distance
// from it finds every repetition, in 80 MB for the 6.4*10^8 seals of make soak.
func TestSealsNeverRepeatANonce(t *testing.T) {
	const goroutines = 64
	each := 10_000
	if os.Getenv("CACHEKIT_SOAK") != "" {
		each = 10_000_000
	}
	b := box(t, envelope.Config{}, master(t, "1"))
	first := b.Seal(time.Now(), "k", nil).Bytes()
	high, low := binary.BigEndian.Uint32(first), binary.BigEndian.Uint64(first[4:])
	seen := make([]uint64, goroutines*each/64+2)
	var repeated, strange atomic.Int64
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range each {
				nonce := b.Seal(time.Now(), "k", nil).Bytes()[:12]
				i := binary.BigEndian.Uint64(nonce[4:]) - low
				carried := binary.BigEndian.Uint64(nonce[4:]) < low
				wantHigh := high
				if carried {
					wantHigh++
				}
				if binary.BigEndian.Uint32(nonce) != wantHigh || i >= uint64(64*len(seen)) {
					strange.Add(1)
					continue
				}
				if old := atomic.OrUint64(&seen[i/64], 1<<(i%64)); old>>(i%64)&1 == 1 {
					repeated.Add(1)
				}
			}
		})
	}
	wg.Wait()
	runtime.KeepAlive(first)
	if repeated.Load() > 0 || strange.Load() > 0 {
		t.Errorf("of %d nonces %d were used before and %d are not of this run (a clock that jumped makes a new one)",
			goroutines*each, repeated.Load(), strange.Load())
	}
}

// FuzzOpen is the first thing that foreign bytes meet: nothing that was not
// sealed for this key, tenant and mode opens, and nothing makes it panic.
func FuzzOpen(f *testing.F) {
	b := box(f, envelope.Config{}, master(f, "1"), master(f, "2"))
	fresh := box(f, envelope.Config{RandomNonces: true}, master(f, "1"), master(f, "2"))
	for _, v := range family {
		f.Add(unhex(f, v.sealed), v.key)
	}
	f.Add(make([]byte, envelope.Overhead), "k")
	f.Add([]byte{}, "")
	f.Fuzz(func(t *testing.T, sealed []byte, key string) {
		for _, b := range []*envelope.Box{b, fresh} {
			refuse(t, b, key, sealed, "arbitrary bytes")
		}
		doc, s, err := envelope.NewPlain().Open(nil, envelope.Receive(key, sealed))
		if err != nil || string(doc) != string(sealed) || s.Key() != key {
			t.Errorf("a plain Box changes what it receives: %v", err)
		}
	})
}
