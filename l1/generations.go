package l1

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"
)

// generations tells reads and writes of a key apart in time. Keys that fall
// into one slot are taken for one key: that costs a copy that could have been
// kept, never one that should not.
type generations struct {
	seed  maphash.Seed
	slots []slot
}

// slot is locked while a generation is compared or moved together with a change
// of the entries, so that nothing comes between the two.
type slot struct {
	mu      sync.Mutex
	gen     atomic.Uint64 // written with the slot locked
	writers int           // writes under way
}

// newGenerations returns a slot for each 4 KiB of the layer, within limits: 16384
// slots (384 KiB) for the default bound.
func newGenerations(maxBytes int64) generations {
	n := 1 << bits.Len64(uint64(min(max(maxBytes/4096, 256), 1<<16)-1))
	return generations{seed: maphash.MakeSeed(), slots: make([]slot, n)}
}

func (g *generations) slot(key string) *slot {
	return &g.slots[maphash.String(g.seed, key)&uint64(len(g.slots)-1)]
}

// Ticket is the generation of a key at one moment.
type Ticket struct {
	slot *slot
	gen  uint64
}

// Watch returns a ticket for filling key from a read that is about to be sent.
// It holds nothing: a ticket need not be used.
func (c *Cache[V]) Watch(key string) Ticket {
	s := c.generations.slot(key)
	return Ticket{s, s.gen.Load()}
}

// Fill stores a copy made from a read, unless a write of key is under way or
// the generation of key has moved since t was taken, and reports whether it did.
func (c *Cache[V]) Fill(t Ticket, key string, v V, life Life) bool {
	e := c.entry(key, v, life)
	if e == nil {
		return false
	}
	t.slot.mu.Lock()
	quiet := t.slot.gen.Load() == t.gen && t.slot.writers == 0 && c.admits(key)
	if quiet {
		c.store(key, e)
	}
	t.slot.mu.Unlock()
	if quiet {
		c.settle(e)
	}
	return quiet
}

// Begin announces a write of key that is about to be sent, and drops its copy.
// The caller ends the write with one Commit or one Abort, whatever happens: until
// then no copy of key is stored.
func (c *Cache[V]) Begin(key string) Ticket {
	s := c.generations.slot(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writers++
	return Ticket{s, c.drop(s, key)}
}

// drop removes the copy and moves the generation, with the slot locked.
func (c *Cache[V]) drop(s *slot, key string) (gen uint64) {
	c.discard(key)
	return s.gen.Add(1)
}

// Commit ends a write that succeeded. It stores the copy unless another write
// of key is under way or the generation of key has moved since Begin, and
// reports whether it did.
func (c *Cache[V]) Commit(t Ticket, key string, v V, life Life) bool {
	e := c.entry(key, v, life)
	t.slot.mu.Lock()
	t.slot.writers--
	alone := t.slot.gen.Load() == t.gen && t.slot.writers == 0
	c.drop(t.slot, key)
	stored := alone && e != nil && c.admits(key)
	if stored {
		c.store(key, e)
	}
	t.slot.mu.Unlock()
	if stored {
		c.settle(e)
	}
	return stored
}

// Abort ends a write whose outcome is unknown, or a delete: no copy stands.
func (c *Cache[V]) Abort(t Ticket, key string) {
	t.slot.mu.Lock()
	defer t.slot.mu.Unlock()
	t.slot.writers--
	c.drop(t.slot, key)
}

// Put stores an entry that nothing else holds, whatever the generation, and
// reports whether it may be held; if not, the former entry is gone too. Fills
// that are pending are void.
func (c *Cache[V]) Put(key string, v V, life Life) bool {
	e := c.entry(key, v, life)
	s := c.generations.slot(key)
	s.mu.Lock()
	if e != nil && !c.admits(key) {
		e = nil
	}
	if e == nil {
		c.drop(s, key)
	} else {
		s.gen.Add(1)
		c.store(key, e)
	}
	s.mu.Unlock()
	if e != nil {
		c.settle(e)
	}
	return e != nil
}

// Invalidate drops the copy of key and makes pending fills and commits of it
// void.
func (c *Cache[V]) Invalidate(key string) {
	s := c.generations.slot(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	c.drop(s, key)
}

// Flush drops everything and makes all pending fills and commits void.
func (c *Cache[V]) Flush() {
	c.Void()
	c.entries.InvalidateAll()
}

// Void makes all pending fills and commits void and leaves the copies that
// stand.
func (c *Cache[V]) Void() {
	for i := range c.generations.slots {
		s := &c.generations.slots[i]
		s.mu.Lock()
		s.gen.Add(1)
		s.mu.Unlock()
	}
}
