package resilient

import (
	"hash/maphash"
	"sync/atomic"
)

// turnSlots is how many keys are told apart, 64 KiB worth. Two keys in one slot
// cost a retry that could have been made.
const turnSlots = 1 << 14

// turns numbers the writes of each key, so that a write can tell whether a newer
// one has begun.
type turns struct {
	seed  maphash.Seed
	slots [turnSlots]atomic.Uint32
}

// turn is the number of one write. The zero turn is never superseded.
type turn struct {
	slot   *atomic.Uint32
	number uint32
}

func (t *turns) next(key string) turn {
	slot := &t.slots[maphash.String(t.seed, key)%turnSlots]
	return turn{slot, slot.Add(1)}
}

// superseded reports whether another write of the key has begun since.
func (t turn) superseded() bool { return t.slot != nil && t.slot.Load() != t.number }
