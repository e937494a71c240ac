package secure

import "sync"

// arena is memory for the sealed entries of one batch, and then for those of
// another: nothing that outlives the batch may lie in it.
type arena struct {
	buf  []byte
	used int // of buf, and beyond it what did not fit
}

var arenas = sync.Pool{New: func() any { return new(arena) }}

// newArena returns one with as much memory as the last batch needed that had it.
func newArena() *arena {
	a := arenas.Get().(*arena)
	if size := min(a.used, maxPooled); size > len(a.buf) {
		a.buf = make([]byte, size)
	}
	a.used = 0
	return a
}

func (a *arena) room(size int) []byte {
	start := a.used
	if a.used += size; a.used > len(a.buf) {
		return make([]byte, size)
	}
	return a.buf[start:a.used:a.used]
}

// release makes a available to other batches.
func (a *arena) release() { arenas.Put(a) }
