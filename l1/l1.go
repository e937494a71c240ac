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
// it moved or while another write is under way. So two writes of one key that
// overlap leave no copy at all, and none stands while a write is under way.
//
// # Time
//
// An entry ends when its TTL has passed on the wall clock or on the monotonic
// clock, whichever is first: a suspended host stops the latter, a clock that is
// set back stops the former. The wall clock is looked at once a millisecond.
// Expired entries are not returned; their memory goes when it is needed or when
// they are asked for.
//
// # Size
//
// The bound is in bytes: key, value by the caller's measure, and 256 bytes an
// entry for what surrounds them. Measured on a full layer, that is 1.0 (large
// values) to 1.25 (small ones) times the live heap it takes; the garbage collector
// adds its own (GOGC). Writers wait for the eviction when a sixteenth of the
// bound has come since the last one. The policy is otter's (W-TinyLFU): one-hit
// entries do not push out popular ones, so a new entry of more than a hundredth
// of the bound may go at once when the layer is full.
package l1

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
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
	// Admit, if not nil, is asked about every copy before it is stored; one that
	// it does not admit is not. It runs with a lock of the layer held: it must be
	// quick and not call the layer. A change of its mind holds for everything
	// that is stored once a call of Flush or Void that followed it has returned.
	Admit func(key string) bool
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
	entries     *otter.Cache[string, *entry[V]]
	size        func(key string, v V) int
	max         int64
	admit       func(key string) bool
	recorder    recorder
	expired     atomic.Uint64
	hits        striped
	settling    sync.Mutex
	unsettled   atomic.Int64 // bytes stored since the last eviction
	changing    atomic.Int32 // changes of entries under way
	clock       clock
	generations generations
}

// entry is immutable once it is stored.
type entry[V any] struct {
	value  V
	since  int64 // of the clock
	life   Life
	weight uint32
}

// New returns an empty layer. size measures a value in bytes. It is called once
// for each entry, without a lock, and must not be negative.
func New[V any](size func(key string, v V) int, opts *Options) *Cache[V] {
	maxBytes := int64(DefaultMaxBytes)
	if opts != nil && opts.MaxBytes > 0 {
		maxBytes = opts.MaxBytes
	}
	c := &Cache[V]{size: size, max: maxBytes, generations: newGenerations(maxBytes)}
	if opts != nil {
		c.admit = opts.Admit
	}
	c.clock.start()
	c.entries = otter.Must(&otter.Options[string, *entry[V]]{
		MaximumWeight: uint64(maxBytes),
		Weigher:       func(_ string, e *entry[V]) uint32 { return e.weight },
		StatsRecorder: &c.recorder,
		Executor:      c.upkeep,
	})
	return c
}

// Get returns the value of key, nil if there is none, and whether it is past its
// fresh part. The value is shared with everybody who gets it: it must not be
// changed.
func (c *Cache[V]) Get(key string) (value *V, stale bool) {
	e, ok := c.entries.GetIfPresent(key)
	if !ok {
		return nil, false
	}
	c.hits.add(e.since)
	if e.life.TTL == math.MaxInt64 && e.life.Fresh <= 0 {
		return &e.value, false
	}
	age := time.Duration(c.clock.now() - e.since)
	if age >= e.life.TTL {
		c.expired.Add(1)
		c.remove(key, e)
		return nil, false
	}
	return &e.value, e.life.Fresh > 0 && age >= e.life.Fresh
}

// remove takes out e, unless another entry has taken its place.
func (c *Cache[V]) remove(key string, e *entry[V]) {
	s := c.generations.slot(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if now, ok := c.entries.GetEntryQuietly(key); ok && now.Value == e {
		c.discard(key)
	}
}

// entry returns what to store, or nil if it may not live or is too large.
func (c *Cache[V]) entry(key string, v V, life Life) *entry[V] {
	if life.TTL <= 0 {
		return nil
	}
	room := min(c.max, math.MaxUint32) - overhead - int64(len(key))
	size := int64(c.size(key, v))
	if size < 0 || size > room {
		return nil
	}
	weight := uint32(size + int64(len(key)) + overhead)
	return &entry[V]{value: v, since: c.clock.now(), life: life, weight: weight}
}

func (c *Cache[V]) admits(key string) bool { return c.admit == nil || c.admit(key) }

// store and discard change the entries.
func (c *Cache[V]) store(key string, e *entry[V]) {
	c.changing.Add(1)
	c.entries.Set(key, e)
	c.changing.Add(-1)
}

func (c *Cache[V]) discard(key string) {
	c.changing.Add(1)
	c.entries.Invalidate(key)
	c.changing.Add(-1)
}

// upkeep runs what otter has to do after a change, or after many hits. Of a change
// it is little, and a goroutine for it would wake another processor each time, on
// which a storage of the same host may be at work: 15 us of a Set. Hits leave it to
// one.
func (c *Cache[V]) upkeep(task func()) {
	if c.changing.Load() > 0 {
		task()
		return
	}
	go task()
}

// settle is called without a lock after e was stored. Otter evicts behind writers
// who meet, by up to 128 entries for each processor however large they are, so
// all writers wait for it when too many bytes have come.
func (c *Cache[V]) settle(e *entry[V]) {
	most := c.max / 16
	if c.unsettled.Add(int64(e.weight)) <= most {
		return
	}
	c.settling.Lock()
	defer c.settling.Unlock()
	if n := c.unsettled.Load(); n > most {
		c.entries.CleanUp()
		c.unsettled.Add(-n)
	}
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
	expired, hits := c.expired.Load(), c.hits.sum()
	return Stats{
		Hits: hits - min(expired, hits), Misses: c.recorder.misses.Load() + expired, Evictions: c.recorder.evictions.Load(),
		Entries: c.entries.EstimatedSize(), Bytes: int64(c.entries.WeightedSize()), MaxBytes: c.max,
	}
}

// Close drops everything. The layer may still be used; it holds nothing that
// has to be released.
func (c *Cache[V]) Close() {
	c.Flush()
	c.entries.StopAllGoroutines()
}
