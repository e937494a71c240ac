package backends

import (
	"context"
	"time"
)

// Caps is what a backend can do beyond [Backend]; a nil field is a capability
// that it does not have.
type Caps struct {
	Batcher      Batcher
	BatchReader  BatchReader
	EntryReader  EntryReader
	TTLer        TTLer
	Locker       Locker
	BatchLocker  BatchLocker
	Scanner      Scanner
	Swapper      Swapper
	BatchSwapper BatchSwapper
	Rewriter     Rewriter
	Replacer     Replacer
	KeyRuler     KeyRuler
	Metered      Metered
	Watcher      Watcher
}

// Wrapper is a backend around another one. It implements no capability
// interface itself; Capabilities returns those of the inner backend, each
// wrapped in turn.
type Wrapper interface {
	Capabilities() Caps
}

// CapabilitiesOf returns what b can do beyond [Backend]. It is the only place
// that asks by type assertion, so a wrapper has one method to write.
func CapabilitiesOf(b Backend) Caps {
	if w, ok := b.(Wrapper); ok {
		return w.Capabilities()
	}
	var c Caps
	c.Batcher, _ = b.(Batcher)
	c.BatchReader, _ = b.(BatchReader)
	c.EntryReader, _ = b.(EntryReader)
	c.TTLer, _ = b.(TTLer)
	c.Locker, _ = b.(Locker)
	c.BatchLocker, _ = b.(BatchLocker)
	c.Scanner, _ = b.(Scanner)
	c.Swapper, _ = b.(Swapper)
	c.BatchSwapper, _ = b.(BatchSwapper)
	c.Rewriter, _ = b.(Rewriter)
	c.Replacer, _ = b.(Replacer)
	c.KeyRuler, _ = b.(KeyRuler)
	c.Metered, _ = b.(Metered)
	c.Watcher, _ = b.(Watcher)
	return c
}

// Batcher handles many keys in few round trips. Each method returns exactly
// one result for each key or entry it was given, in the same order, so that one
// failed node or shard fails its own keys alone. A key that is given twice has
// two results. An empty batch returns an empty slice and does no I/O.
type Batcher interface {
	// GetMany reads all keys. A missing key has Err == ErrNotFound. Entry.TTL
	// is 0 where asking for it would cost a further round trip.
	GetMany(ctx context.Context, keys []string) []GetResult
	// SetMany writes all items; of two items with the same key the later one
	// stays. The errors are those of Backend.Set.
	SetMany(ctx context.Context, items []Item) []error
	// DeleteMany removes all keys.
	DeleteMany(ctx context.Context, keys []string) []DeleteResult
}

// BatchReader reads many entries into memory that the caller uses again: a batch
// that is decrypted at once need not leave its ciphertext to the collector.
type BatchReader interface {
	// ReadMany is Batcher.GetMany, but a value may lie in a slice that room
	// returned, and is the caller's as long as that slice is. room returns size
	// bytes of any content. It must be quick, and is called for sizes that the
	// backend has bounded, by the goroutine of the call alone. Once ReadMany has
	// returned, the backend touches none of it, not even if the call was abandoned.
	ReadMany(ctx context.Context, keys []string, room func(size int) []byte) []GetResult
}

// Item is one entry of Batcher.SetMany, with the same rules as Backend.Set.
type Item struct {
	Key   string
	Value []byte
	TTL   time.Duration
}

// GetResult is one result of Batcher.GetMany.
type GetResult struct {
	Entry Entry
	Err   error
}

// DeleteResult is one result of Batcher.DeleteMany.
type DeleteResult struct {
	Existed bool
	Err     error
}

// EntryReader reads a value together with its remaining TTL and the server's
// word on freshness, in one round trip.
type EntryReader interface {
	GetEntry(ctx context.Context, key string) (Entry, error)
}

// TTLer reads and sets the remaining time to live.
type TTLer interface {
	// TTL returns the time left: positive, or NoExpiry. A missing entry is
	// ErrNotFound.
	TTL(ctx context.Context, key string) (time.Duration, error)
	// Touch gives an existing entry a new TTL (positive, or NoExpiry) without
	// changing its value, and reports whether there was one.
	Touch(ctx context.Context, key string, ttl time.Duration) (existed bool, err error)
}

// Locker hands out locks that are owned by a token and expire by themselves.
// The lock of a key is stored apart from its entry and does not exclude
// readers or writers of the entry: it is an agreement between lockers.
type Locker interface {
	// Lock tries once to take the lock of key for lease (positive) and returns
	// a random 128-bit token that proves ownership. If another owner holds it,
	// the error is ErrLocked. An attempt is never repeated under another
	// token, so one call can never leave two locks behind.
	Lock(ctx context.Context, key string, lease time.Duration) (token string, err error)
	// Unlock releases the lock if it is still held under token, and reports
	// whether it was. A lock that expired and was taken by another owner is
	// left alone.
	Unlock(ctx context.Context, key, token string) (released bool, err error)
}

// BatchLocker is for a [Locker] that can take and release many locks in few round
// trips. Each is taken or released for itself, under the rules of Locker; there is
// one result for each, in order. The second attempt on a key of a batch finds the
// lock of the first.
type BatchLocker interface {
	LockMany(ctx context.Context, keys []string, lease time.Duration) []LockResult
	UnlockMany(ctx context.Context, locks []HeldLock) []UnlockResult
}

// LockResult is one result of BatchLocker.LockMany.
type LockResult struct {
	Token string
	Err   error
}

// HeldLock is one lock to release by BatchLocker.UnlockMany.
type HeldLock struct{ Key, Token string }

// UnlockResult is one result of BatchLocker.UnlockMany.
type UnlockResult struct {
	Released bool
	Err      error
}

// Scanner enumerates stored keys, a page at a time, so that a walk can be
// resumed.
type Scanner interface {
	// Scan returns the keys of one page that begin with prefix, and the cursor
	// of the next page, "" at the end. The first page has cursor "". A cursor
	// is opaque and stays usable across processes. limit is a hint for the
	// size of a page (0 = the backend's default); a page may be empty before
	// the end. A key that exists during the whole walk is returned at least
	// once, possibly several times. Keys of locks are left out.
	Scan(ctx context.Context, prefix, cursor string, limit int) (keys []string, next string, err error)
}

// Swapper replaces a value only if it is still the one that the caller read.
type Swapper interface {
	// Swap stores new under key if the bytes stored there equal old, and
	// reports whether it did. The remaining TTL (or its absence) is kept. A
	// missing entry is not swapped.
	Swap(ctx context.Context, key string, old, new []byte) (swapped bool, err error)
}

// BatchSwapper swaps many entries in few round trips: what re-encryption of a
// whole storage needs. Each item is swapped or not for itself, under the rules
// of [Swapper]; there is one result for each, in order.
type BatchSwapper interface {
	SwapMany(ctx context.Context, items []SwapItem) []SwapResult
}

// SwapItem is one entry of BatchSwapper.SwapMany.
type SwapItem struct {
	Key      string
	Old, New []byte
}

// SwapResult is one result of BatchSwapper.SwapMany.
type SwapResult struct {
	Swapped bool
	Err     error
}

// Rewriter reads many entries and replaces them by what is made of them, in fewer
// round trips than a read and a [BatchSwapper] need.
type Rewriter interface {
	// RewriteMany calls replace once for each key that has an entry, with its
	// place in keys and its value, which replace may keep. Whatever replace returns
	// is stored under the key, with the remaining TTL (or its absence) kept, if the
	// entry was not written meanwhile; nil leaves it. Then each entry that was
	// rewritten is read back from the storage and given to stored, unless that is
	// nil: its value is nil if it is gone by then, and valid during the call only.
	// Both are called by one goroutine at a time and not after RewriteMany has
	// returned. There is one result for each key, in order.
	RewriteMany(ctx context.Context, keys []string, replace func(i int, value []byte) (replacement []byte), stored func(i int, value []byte)) []RewriteResult
}

// RewriteResult is one result of Rewriter.RewriteMany. Found says that there was
// an entry, Rewritten that its replacement was stored, with an Err if it could not
// be read back. An entry that is neither
// rewritten nor has an error holds what it held, or what somebody else has written
// meanwhile: entries are rewritten together, so one that was written may hold up
// others. [Swapper] decides on each for itself.
type RewriteResult struct {
	Found, Rewritten bool
	Err              error
}

// Replacer replaces a value only if it is still the one that the caller read, and
// gives it a new TTL in the same step: what the refresh of an entry needs.
type Replacer interface {
	// Replace stores new under key for ttl (as in Backend.Set) if the bytes
	// stored there equal old, and reports whether it did. If it did not, the
	// entry keeps its value and its TTL; a missing entry stays missing.
	Replace(ctx context.Context, key string, old, new []byte, ttl time.Duration) (replaced bool, err error)
}

// KeyRuler declares which keys the storage can hold.
type KeyRuler interface {
	KeyRules() KeyRules
}

// Counters are what a cache in front of a backend has counted since it was
// built.
type Counters struct {
	// L1 is true if the cache has an in-process layer.
	L1 bool
	// L1Hits and BackendHits are reads that found an entry in the in-process
	// layer and in the backend, Misses those that found none.
	L1Hits, BackendHits, Misses uint64
}

// Metered passes a cache's counters on to its storage, as the CachekitIO
// service asks for them with each request.
type Metered interface {
	// Meter makes source one of those whose sum is reported, until stop is
	// called, which may be more than once. source is called during calls of the
	// backend, from many goroutines, and must be quick.
	Meter(source func() Counters) (stop func())
}

// Watcher reports that entries have changed, so that a cache can drop its copies
// of them.
type Watcher interface {
	// Watch reports changes of the keys that begin with prefix ("" is every key)
	// to handler until stop is called or the backend is closed. It does no I/O
	// and starts in the down state; connecting, and reconnecting after failures,
	// is the backend's business. The error is ErrClosed, or says that this backend
	// can never watch.
	//
	// The calls of handler do not overlap, must be quick, and must neither call
	// stop or Watch nor write. They may begin before Watch returns; after stop has
	// returned there are none. stop may be called more than once.
	Watch(prefix string, handler WatchHandler) (stop func(), err error)
}

// WatchHandler is told what a [Watcher] sees. Who copies entries keeps to this:
// no copy stands or is made while the watcher is down, and none is made of a read
// that was sent before the last call of any of these methods that concerns it.
type WatchHandler interface {
	// Up says that every change from now on is reported: any write that the
	// storage executes after this call, by whatever client.
	Up()
	// Down says that changes may have gone unreported, from up to 2 s ago until
	// the next call of Up.
	Down()
	// Changed says that the entries of keys were written, deleted, or have
	// expired. A read that is sent from now on finds the change. Changes of one
	// key may be reported together, and changes by this backend itself may be
	// reported or not; see WrittenBy. An entry that expires by its TTL need not be. keys must not
	// be kept.
	Changed(keys []string)
	// Flush says that any entry may have changed.
	Flush()
}
