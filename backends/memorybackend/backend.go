package memorybackend

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

// Defaults of Options.
const (
	DefaultMaxBytes      = 256 << 20
	DefaultMaxValueBytes = 64 << 20
)

// Options adjusts a Backend; nil or zero values are the defaults.
type Options struct {
	// Clock is what entries and locks expire by. Default: time.Now.
	Clock *Clock
	// KeyRules are those of the storage that this one stands for. Default: every
	// key of the family.
	KeyRules backends.KeyRules
	// MaxValueBytes is the largest value; a larger one is an error of kind
	// TooLarge. Default 64 MiB.
	MaxValueBytes int
	// MaxBytes bounds keys and values together. A write beyond it is an error of
	// kind Overload: nothing is evicted, so what a test finds depends on nothing
	// but the test. Default 256 MiB.
	MaxBytes int64
}

// Backend is a handle on entries in memory. It is safe for concurrent use.
type Backend struct {
	rules    backends.KeyRules
	maxValue int
	storage  *storage
	faults   faults
	closed   atomic.Bool
}

var (
	_ backends.Backend      = (*Backend)(nil)
	_ backends.Batcher      = (*Backend)(nil)
	_ backends.EntryReader  = (*Backend)(nil)
	_ backends.TTLer        = (*Backend)(nil)
	_ backends.Locker       = (*Backend)(nil)
	_ backends.BatchLocker  = (*Backend)(nil)
	_ backends.Scanner      = (*Backend)(nil)
	_ backends.Swapper      = (*Backend)(nil)
	_ backends.BatchSwapper = (*Backend)(nil)
	_ backends.Rewriter     = (*Backend)(nil)
	_ backends.BatchReader  = (*Backend)(nil)
	_ backends.Replacer     = (*Backend)(nil)
	_ backends.KeyRuler     = (*Backend)(nil)
	_ backends.Watcher      = (*Backend)(nil)
)

// New returns an empty storage. It panics if a size in opts is negative.
func New(opts *Options) *Backend {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.MaxValueBytes < 0 || o.MaxBytes < 0 {
		panic(fmt.Sprintf("memorybackend: Options.MaxValueBytes is %d and MaxBytes is %d, want no negative size", o.MaxValueBytes, o.MaxBytes))
	}
	s := &storage{now: time.Now, maxBytes: DefaultMaxBytes, entries: map[string]entry{}, locks: map[string]lock{},
		watches: watches{all: map[*watch]struct{}{}}}
	if o.MaxBytes > 0 {
		s.maxBytes = o.MaxBytes
	}
	if o.Clock != nil {
		s.now = o.Clock.Now
	}
	if o.MaxValueBytes == 0 {
		o.MaxValueBytes = DefaultMaxValueBytes
	}
	return handle(s, o.KeyRules, o.MaxValueBytes)
}

func handle(s *storage, rules backends.KeyRules, maxValue int) *Backend {
	return &Backend{rules: rules, maxValue: maxValue, storage: s, faults: faults{done: make(chan struct{})}}
}

// Peer returns another handle on the same entries and locks, as another process
// would have. Faults and Close of the one do not concern the other.
func (b *Backend) Peer() *Backend { return handle(b.storage, b.rules, b.maxValue) }

// begin checks the key and returns what the test has decided about the call.
func (b *Backend) begin(ctx context.Context, op, key string) error {
	if err := b.rules.Check(key); err != nil {
		return err
	}
	if err := b.admit(ctx, op); err != nil {
		return err
	}
	return b.ask(ctx, op, key)
}

// Get implements [backends.Backend].
func (b *Backend) Get(ctx context.Context, key string) ([]byte, error) {
	e, err := b.GetEntry(ctx, key)
	return e.Value, err
}

// GetEntry implements [backends.EntryReader].
func (b *Backend) GetEntry(ctx context.Context, key string) (backends.Entry, error) {
	if err := b.begin(ctx, "get", key); err != nil {
		return backends.Entry{}, err
	}
	value, ttl, ok := b.storage.get(key)
	if !ok {
		return backends.Entry{}, backends.ErrNotFound
	}
	return backends.Entry{Value: bytes.Clone(value), TTL: ttl}, nil
}

// Set implements [backends.Backend].
func (b *Backend) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if ttl <= 0 {
		return backends.ErrTTL
	}
	if len(value) > b.maxValue {
		return failed("set", backends.TooLarge, errTooLarge)
	}
	if err := b.begin(ctx, "set", key); err != nil {
		return err
	}
	if !b.storage.set(key, value, ttl) {
		return failed("set", backends.Overload, errFull)
	}
	b.changed(key)
	return nil
}

// Delete implements [backends.Backend].
func (b *Backend) Delete(ctx context.Context, key string) (bool, error) {
	if err := b.begin(ctx, "delete", key); err != nil {
		return false, err
	}
	existed := b.storage.delete(key)
	b.changed(key)
	return existed, nil
}

// Exists implements [backends.Backend].
func (b *Backend) Exists(ctx context.Context, key string) (bool, error) {
	if err := b.begin(ctx, "exists", key); err != nil {
		return false, err
	}
	_, _, ok := b.storage.get(key)
	return ok, nil
}

// Health implements [backends.Backend]. Details: entries and bytes.
func (b *Backend) Health(ctx context.Context) backends.Health {
	start := time.Now()
	h := backends.Health{BackendType: backendType}
	if h.Err = b.admit(ctx, "health"); h.Err == nil {
		h.Err = b.ask(ctx, "health", "")
	}
	if h.OK = h.Err == nil; h.OK {
		entries, size := b.storage.usage()
		h.Details = map[string]string{"entries": strconv.Itoa(entries), "bytes": strconv.FormatInt(size, 10)}
	}
	h.Latency = max(time.Since(start), 1)
	return h
}

// Close closes this handle; the entries stay for its peers. Calls that a stall
// holds return [backends.ErrClosed].
func (b *Backend) Close() error {
	if !b.closed.Swap(true) {
		close(b.faults.done)
		b.updateWatches()
	}
	return nil
}
