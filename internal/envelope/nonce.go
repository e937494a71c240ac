package envelope

import (
	"crypto/rand"
	"encoding/binary"
	"sync/atomic"
	"time"
)

const (
	nonceSize = 12 // spec/encryption.md, "Algorithm"
	tagSize   = 16

	// maxRun is how many nonces are counted up from one random start.
	maxRun = 1 << 32
	// maxDrift is how far wall clock and monotonic clock may part before the
	// process counts as suspended, copied or resumed.
	maxDrift = time.Second
)

// nonces yields a nonce per seal; safe for concurrent use without a lock.
type nonces struct {
	run atomic.Pointer[run]
}

// run is one random start and the count of nonces taken from it.
type run struct {
	hi    uint32    // first 4 bytes of the start
	lo    uint64    // last 8 bytes
	began time.Time // monotonic clock at the start
	wall  int64     // wall clock at the start, in nanoseconds
	taken atomic.Uint64
}

// put writes a fresh nonce into dst, which has nonceSize bytes. now carries
// both clocks, as time.Now returns it.
func (n *nonces) put(dst []byte, now time.Time) {
	for {
		r := n.run.Load()
		if r != nil && !r.drifted(now) {
			if i := r.taken.Add(1); i <= maxRun {
				r.write(dst, i-1)
				return
			}
		}
		n.run.CompareAndSwap(r, newRun(now))
	}
}

func newRun(now time.Time) *run {
	var start [nonceSize]byte
	rand.Read(start[:])
	return &run{
		hi:    binary.BigEndian.Uint32(start[:4]),
		lo:    binary.BigEndian.Uint64(start[4:]),
		began: now,
		wall:  now.UnixNano(),
	}
}

// write stores start + i, modulo 2^96.
func (r *run) write(dst []byte, i uint64) {
	hi, lo := r.hi, r.lo+i
	if lo < r.lo {
		hi++
	}
	binary.BigEndian.PutUint32(dst[:4], hi)
	binary.BigEndian.PutUint64(dst[4:nonceSize], lo)
}

// drifted compares the time that passed on the two clocks. Seals of concurrent
// callers may carry slightly older times than the run; that moves both clocks.
func (r *run) drifted(now time.Time) bool {
	parted := now.UnixNano() - r.wall - int64(now.Sub(r.began))
	return parted > int64(maxDrift) || parted < -int64(maxDrift)
}
