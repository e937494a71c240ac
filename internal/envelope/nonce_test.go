package envelope

import (
	"encoding/binary"
	"math"
	"sync"
	"testing"
	"time"
)

func (n *nonces) next(now time.Time) (out [nonceSize]byte) {
	n.put(out[:], now)
	return out
}

func TestNoncesCountUpFromTheirStart(t *testing.T) {
	var n nonces
	now := time.Now()
	first := n.next(now)
	start := binary.BigEndian.Uint64(first[4:])
	for i := range uint64(1000) {
		got := n.next(now)
		if lo := binary.BigEndian.Uint64(got[4:]); lo != start+i+1 {
			t.Fatalf("nonce %d ends in %d, want %d", i+1, lo, start+i+1)
		}
	}
}

func TestNoncesCarryIntoTheFirstBytes(t *testing.T) {
	r := &run{hi: 7, lo: math.MaxUint64}
	var got [nonceSize]byte
	r.write(got[:], 0)
	if want := [nonceSize]byte{0, 0, 0, 7, 255, 255, 255, 255, 255, 255, 255, 255}; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	r.write(got[:], 1)
	if want := [nonceSize]byte{0, 0, 0, 8}; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	r = &run{hi: math.MaxUint32, lo: math.MaxUint64}
	r.write(got[:], 2)
	if want := [nonceSize]byte{11: 1}; got != want {
		t.Errorf("past 2^96: got %v, want %v", got, want)
	}
}

func TestNewStartAfter32BitsOfSeals(t *testing.T) {
	var n nonces
	now := time.Now()
	n.next(now)
	before := n.run.Load()
	before.taken.Store(maxRun - 1)
	n.next(now) // the last of this run
	if n.run.Load() != before {
		t.Fatal("the run ended one nonce early")
	}
	n.next(now)
	if n.run.Load() == before {
		t.Fatal("the run goes on past 2^32 nonces")
	}
	if got := n.run.Load().taken.Load(); got != 1 {
		t.Errorf("the new run counts %d nonces, want 1", got)
	}
}

// A resumed snapshot shows as a wall clock that jumped while the monotonic clock
// went on. times with diverging clocks cannot be made with package time's API
// alone: Round(0) drops the monotonic reading, so drift is checked on its inputs.
func TestNewStartWhenTheClocksPart(t *testing.T) {
	base := time.Now()
	for _, tc := range []struct {
		began, now time.Time
		want       bool
	}{
		{base, base.Add(time.Hour), false},
		{base, base.Add(-time.Second), false},
		{base.Add(time.Hour), base, false},
	} {
		if got := drifted(tc.began, tc.now); got != tc.want {
			t.Errorf("both clocks moved by %v: drifted is %v", tc.now.Sub(tc.began), got)
		}
	}
	for wall, want := range map[time.Duration]bool{
		0: false, 900 * time.Millisecond: false, -900 * time.Millisecond: false,
		1100 * time.Millisecond: true, -1100 * time.Millisecond: true, 24 * time.Hour: true,
	} {
		if got := parted(base, base, wall); got != want {
			t.Errorf("wall clock moved by %v alone: drifted is %v, want %v", wall, got, want)
		}
	}
	var n nonces
	n.next(base)
	before := n.run.Load()
	n.next(base)
	if n.run.Load() != before {
		t.Fatal("a new start without a reason")
	}
	before.wall -= int64(2 * time.Second)
	n.next(base)
	if n.run.Load() == before {
		t.Fatal("no new start although the clocks parted")
	}
}

// parted is drifted for a now whose wall clock is ahead of its monotonic clock.
func parted(began, now time.Time, ahead time.Duration) bool {
	r := &run{began: began, wall: began.UnixNano() - int64(ahead)}
	return r.drifted(now)
}

func drifted(began, now time.Time) bool {
	return (&run{began: began, wall: began.UnixNano()}).drifted(now)
}

func TestNoncesAreUniqueOverGoroutines(t *testing.T) {
	const goroutines, each = 32, 20_000
	var n nonces
	var wg sync.WaitGroup
	parts := make([][][nonceSize]byte, goroutines)
	for g := range goroutines {
		wg.Go(func() {
			for i := range each {
				now := time.Now()
				if i%4096 == 0 {
					n.run.Store(nil) // a new start amid concurrent use
				}
				parts[g] = append(parts[g], n.next(now))
			}
		})
	}
	wg.Wait()
	seen := make(map[[nonceSize]byte]bool, goroutines*each)
	for _, part := range parts {
		for _, x := range part {
			if seen[x] {
				t.Fatalf("nonce %x was used twice", x)
			}
			seen[x] = true
		}
	}
}
