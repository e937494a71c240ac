// Package doubt remembers the keys of writes whose outcome is unknown: a server
// may have received such a write and execute it later. Before a backend writes
// one of these keys again, it makes sure that what came before has been executed.
package doubt

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// Max is how many keys are remembered; above it, others are forgotten.
const Max = 1 << 14

// Keys remembers keys, as hashes. It is safe for concurrent use; asking about keys
// costs one atomic load while none is remembered.
type Keys struct {
	seed  maphash.Seed
	count atomic.Int64

	mu    sync.Mutex
	turn  uint64
	marks Marks
}

// Marks are doubts that Find found, to be settled.
type Marks map[uint64]uint64 // hash of the key: the turn in which it was added

// New returns Keys that remember nothing.
func New() *Keys { return &Keys{seed: maphash.MakeSeed(), marks: Marks{}} }

// Add remembers keys whose last write has an unknown outcome.
func (k *Keys) Add(keys ...string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.turn++
	for _, key := range keys {
		for h := range k.marks {
			if len(k.marks) < Max {
				break
			}
			delete(k.marks, h)
		}
		k.marks[maphash.String(k.seed, key)] = k.turn
	}
	k.count.Store(int64(len(k.marks)))
}

// Find returns the marks of those of n keys that have one.
func (k *Keys) Find(n int, key func(int) string) Marks {
	if k.count.Load() == 0 {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	found := Marks{}
	for i := range n {
		h := maphash.String(k.seed, key(i))
		if turn, ok := k.marks[h]; ok {
			found[h] = turn
		}
	}
	return found
}

// Settle forgets marks, but not those that a later Add has renewed.
func (k *Keys) Settle(marks Marks) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for h, turn := range marks {
		if k.marks[h] == turn {
			delete(k.marks, h)
		}
	}
	k.count.Store(int64(len(k.marks)))
}
