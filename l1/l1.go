// Package l1 is the in-process layer of a cache: a bounded map of recently used
// entries that knows how fresh they are and that a concurrent write cannot fill
// with an old value.
//
// It is generic and interprets nothing: package secure puts sealed entries in.
//
// # Writes and fills
//
// A copy may only stand while it is what the storage holds. So a write announces
// itself before it is sent ([Cache.Begin] drops the copy) and says how it ended
// ([Cache.Commit], or [Cache.Abort] when it failed or deleted). A copy made from
// a read is filled in with a ticket from before the read was sent
// ([Cache.Watch], [Cache.Fill]). Each key has a generation that begins and ends
// of writes, invalidations and flushes advance; Commit and Fill store nothing if
// it moved. Two writes of one key that overlap therefore leave no copy at all.
//
// # Time
//
// An entry ends when its TTL has passed on the wall clock or on the monotonic
// clock, whichever is first: a suspended host stops the latter, a clock that is
// set back stops the former. Expired entries are not returned; their memory goes
// when it is needed or when they are asked for.
//
// # Size
//
// The bound is in bytes: key, value by the caller's measure, and 256 bytes an
// entry for what surrounds them. It may be exceeded by a few entries for the
// moment that eviction takes. The policy is otter's (W-TinyLFU): one-hit entries
// do not push out popular ones.
package l1

import (
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/maypok86/otter/v2/stats"
)

const (
	// DefaultMaxBytes is the default of Options.MaxBytes.
	DefaultMaxBytes = 64 << 20
	// overhead is what an entry takes beside its key and value: otter's node
	// and table slot, ours, and the allocator's rounding.
	overhead = 256
)

// Options configures a Cache; nil or zero is the default.
type Options struct {
	// MaxBytes bounds the layer. Default 64 MiB.
	MaxBytes int64
}

// Life is how long an entry may be served.
type Life struct {
	// TTL is the whole life. Zero or negative stores nothing; math.MaxInt64 is
	// until the entry is evicted.
	TTL time.Duration
	// Fresh is the part of it after which Get reports the entry as stale; 0 is
	// never.
	Fresh time.Duration
}

// Cache is the layer. It is safe for concurrent use; a hit takes no lock.
type Cache[V any] struct {
	entries *otter.Cache[string, *entry[V]]
	size    func(key string, v V) int
	max     int64
	counter *stats.Counter
	expired atomic.Uint64
	seed    maphash.Seed
	stripes [stripeCount]stripe
}

// stripeCount is how many generations there are. Keys share one; that costs a
// copy that could have been kept, never one that should not.
const stripeCount = 1024

type stripe struct {
	mu  sync.Mutex
	gen atomic.Uint64
	_   [48]byte // a cache line each
}

// Ticket is the generation of a key at one moment.
type Ticket struct {
	stripe *stripe
	gen    uint64
}

// entry is immutable once it is stored.
type entry[V any] struct {
	value V
	life  Life
	since time.Time // both clocks
	bytes uint32
}

// New returns an empty layer. size measures a value in bytes; it must be cheap
// and must not call the layer.
func New[V any](size func(key string, v V) int, opts *Options) *Cache[V] {
	maxBytes := int64(DefaultMaxBytes)
	if opts != nil && opts.MaxBytes > 0 {
		maxBytes = opts.MaxBytes
	}
	c := &Cache[V]{size: size, max: maxBytes, counter: stats.NewCounter(), seed: maphash.MakeSeed()}
	c.entries = otter.Must(&otter.Options[string, *entry[V]]{
		MaximumWeight: uint64(maxBytes),
		Weigher:       func(_ string, e *entry[V]) uint32 { return e.bytes },
		StatsRecorder: c.counter,
	})
	return c
}

// Get returns the value of key, and whether it is past its fresh part.
func (c *Cache[V]) Get(key string) (value V, stale, ok bool) {
	e, ok := c.entries.GetIfPresent(key)
	if !ok {
		return value, false, false
	}
	age := e.age(time.Now())
	if age >= e.life.TTL {
		c.expired.Add(1)
		c.remove(key, e)
		return value, false, false
	}
	return e.value, e.life.Fresh > 0 && age >= e.life.Fresh, true
}

// age is the time since the entry was stored, by the clock that says more.
func (e *entry[V]) age(now time.Time) time.Duration {
	monotonic := now.Sub(e.since)
	wall := time.Duration(now.UnixNano() - e.since.UnixNano())
	return max(monotonic, wall)
}

// remove takes out e, unless another entry has taken its place.
func (c *Cache[V]) remove(key string, e *entry[V]) {
	s := c.stripe(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if now, ok := c.entries.GetEntryQuietly(key); ok && now.Value == e {
		c.entries.Invalidate(key)
	}
}

func (c *Cache[V]) stripe(key string) *stripe {
	return &c.stripes[maphash.String(c.seed, key)%stripeCount]
}

// Watch returns a ticket for filling key from a read that is about to be sent.
func (c *Cache[V]) Watch(key string) Ticket {
	s := c.stripe(key)
	return Ticket{s, s.gen.Load()}
}

// Fill stores a copy made from a read, unless the generation of key has moved
// since t was taken, and reports whether it did.
func (c *Cache[V]) Fill(t Ticket, key string, v V, life Life) bool {
	t.stripe.mu.Lock()
	defer t.stripe.mu.Unlock()
	return t.stripe.gen.Load() == t.gen && c.store(key, v, life)
}

// Begin announces a write of key that is about to be sent, and drops its copy.
func (c *Cache[V]) Begin(key string) Ticket {
	s := c.stripe(key)
	return Ticket{s, c.advance(s, key)}
}

// advance moves the generation and drops the copy, in one step for Fill and
// Commit.
func (c *Cache[V]) advance(s *stripe, key string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.entries.Invalidate(key)
	return s.gen.Add(1)
}

// Commit ends a write that succeeded. It stores the copy unless the generation
// of key has moved since Begin, and reports whether it did.
func (c *Cache[V]) Commit(t Ticket, key string, v V, life Life) bool {
	t.stripe.mu.Lock()
	defer t.stripe.mu.Unlock()
	alone := t.stripe.gen.Load() == t.gen
	t.stripe.gen.Add(1)
	if alone && c.store(key, v, life) {
		return true
	}
	c.entries.Invalidate(key)
	return false
}

// Abort ends a write whose outcome is unknown, or a delete: no copy stands.
func (c *Cache[V]) Abort(t Ticket, key string) { c.advance(t.stripe, key) }

// Put stores an entry that nothing else holds, whatever the generation, and
// reports whether it fits; if not, the former entry is gone too.
func (c *Cache[V]) Put(key string, v V, life Life) bool {
	s := c.stripe(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gen.Add(1)
	if c.store(key, v, life) {
		return true
	}
	c.entries.Invalidate(key)
	return false
}

// store is called with the stripe locked.
func (c *Cache[V]) store(key string, v V, life Life) bool {
	bytes := int64(len(key)) + int64(c.size(key, v)) + overhead
	if life.TTL <= 0 || bytes > c.max || bytes > math.MaxUint32 {
		return false
	}
	c.entries.Set(key, &entry[V]{value: v, life: life, since: time.Now(), bytes: uint32(bytes)})
	return true
}

// Invalidate drops the copy of key and makes pending fills of it void.
func (c *Cache[V]) Invalidate(key string) { c.advance(c.stripe(key), key) }

// Flush drops everything and makes all pending fills and commits void.
func (c *Cache[V]) Flush() {
	for i := range c.stripes {
		s := &c.stripes[i]
		s.mu.Lock()
		s.gen.Add(1)
		s.mu.Unlock()
	}
	c.entries.InvalidateAll()
}

// Stats are counts since the layer was built, and its size now.
type Stats struct {
	// Hits and Misses count Get; an expired entry is a miss.
	Hits, Misses uint64
	// Evictions count entries that went because of the bound.
	Evictions uint64
	// Entries and Bytes are what is held, expired entries that have not been
	// asked for included. MaxBytes is the bound.
	Entries         int
	Bytes, MaxBytes int64
}

// Stats returns a snapshot. The counts are eventually consistent.
func (c *Cache[V]) Stats() Stats {
	s, expired := c.counter.Snapshot(), c.expired.Load()
	return Stats{
		Hits: s.Hits - min(expired, s.Hits), Misses: s.Misses + expired, Evictions: s.Evictions,
		Entries: c.entries.EstimatedSize(), Bytes: int64(c.entries.WeightedSize()), MaxBytes: c.max,
	}
}

// Close drops everything. The layer may still be used; it holds nothing that
// has to be released.
func (c *Cache[V]) Close() {
	c.Flush()
	c.entries.StopAllGoroutines()
}
