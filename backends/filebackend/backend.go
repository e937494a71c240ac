package filebackend

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

// Backend stores entries in one directory. It is safe for concurrent use, also
// by several backends and processes on one directory.
type Backend struct {
	opts    Options
	dir     *dir
	slots   chan struct{} // calls in goroutines of their own
	calls   chan func()   // to goroutines that wait for one
	waiting atomic.Int32  // how many do
	groups  chan struct{} // groups of batches that are written
	stripes [stripeCount]chan struct{}
	usage   usage

	refs   atomic.Int64 // calls and passes under way, and one for being open
	closed atomic.Bool
	stop   chan struct{} // closed by Close
	idle   chan struct{} // closed when refs is 0

	pid   int
	temps atomic.Uint64
}

var (
	_ backends.Backend     = (*Backend)(nil)
	_ backends.Batcher     = (*Backend)(nil)
	_ backends.EntryReader = (*Backend)(nil)
	_ backends.TTLer       = (*Backend)(nil)
	_ backends.Locker      = (*Backend)(nil)
	_ backends.Swapper     = (*Backend)(nil)
	_ backends.Replacer    = (*Backend)(nil)
)

// Open opens the directory at path, which it creates with mode 0700 if there is
// none. A path that is a symbolic link is resolved, once; what it leads to has
// to be safe. The error is ErrUnsafe, a bad option, or the operating system's.
func Open(path string, opts *Options) (*Backend, error) { return open(path, opts, nil) }

// open is Open with a gate that tests use to stall and break the disk.
func open(path string, opts *Options, gate func() error) (*Backend, error) {
	o, err := opts.resolve()
	if err != nil {
		return nil, err
	}
	d, err := openDir(path, gate)
	if err != nil {
		return nil, fmt.Errorf("filebackend: opening the cache directory: %w", err)
	}
	b := &Backend{
		opts: o, dir: d, slots: make(chan struct{}, maxDetached), calls: make(chan func()), groups: make(chan struct{}, batchWorkers),
		stop: make(chan struct{}), idle: make(chan struct{}), pid: os.Getpid(),
	}
	b.temps.Store(rand.Uint64())
	for i := range b.stripes {
		b.stripes[i] = make(chan struct{}, 1)
	}
	b.refs.Store(1)
	if o.SweepInterval > 0 {
		b.refs.Add(1)
		go b.sweeper()
	}
	return b, nil
}

// closeGrace bounds how long Close waits.
const closeGrace = time.Second

// Close refuses further calls, stops the sweep and waits up to a second for the
// calls under way, abandoned ones too. The directory is closed when the last of
// them has ended.
func (b *Backend) Close() error {
	if !b.closed.Swap(true) {
		close(b.stop)
		b.release()
	}
	grace := time.NewTimer(closeGrace)
	defer grace.Stop()
	select {
	case <-b.idle:
	case <-grace.C:
	}
	return nil
}

// acquire keeps the directory open for one call.
func (b *Backend) acquire() error {
	for {
		n := b.refs.Load()
		if n == 0 || b.closed.Load() {
			return backends.ErrClosed
		}
		if b.refs.CompareAndSwap(n, n+1) {
			return nil
		}
	}
}

func (b *Backend) release() {
	if b.refs.Add(-1) == 0 {
		b.dir.close()
		close(b.idle)
	}
}

// Get returns the value stored under key, which the caller owns.
func (b *Backend) Get(ctx context.Context, key string) ([]byte, error) {
	e, err := b.GetEntry(ctx, key)
	return e.Value, err
}

// GetEntry returns the value stored under key with its remaining TTL.
func (b *Backend) GetEntry(ctx context.Context, key string) (backends.Entry, error) {
	return call(ctx, b, "get", key, b.read)
}

// Set stores value under key. Deadlines are in whole seconds, rounded up.
func (b *Backend) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w, err := b.writeOf(&backends.Item{Key: key, Value: value, TTL: ttl})
	if err != nil {
		return err
	}
	_, err = perform(ctx, b, "set", w.name, func(a *attempt, _ string) (struct{}, error) {
		return struct{}{}, b.write(ctx, a, &w)
	}, &w.value)
	return err
}

func (b *Backend) fits(op string, value []byte) error {
	if int64(len(value)) <= b.opts.MaxValueBytes {
		return nil
	}
	return wrap(op, fmt.Errorf("%w: got %d bytes, want at most %d", errTooLarge, len(value), b.opts.MaxValueBytes))
}

// Delete removes the entry and reports whether there was a live one. Like the
// sister SDKs it also removes an entry of another version (which counts as
// live), for the caller wants the key gone for everybody.
func (b *Backend) Delete(ctx context.Context, key string) (bool, error) {
	return call(ctx, b, "delete", key, func(a *attempt, name string) (existed bool, err error) {
		if err := b.lock(ctx, name); err != nil {
			return false, err
		}
		defer b.unlock(name)
		f, h, err := b.peek(a, name)
		if err != nil {
			return false, missIsFalse(err)
		}
		defer f.close()
		if !a.proceed() {
			return false, errAbandoned
		}
		if err := b.remove(name, f.size); err != nil {
			return false, missIsFalse(missing(err))
		}
		if b.opts.Sync {
			err = b.dir.sync()
		}
		return h.state == stateLive || h.state == stateUnknown, err
	})
}

// Exists reports whether a live entry is stored under key.
func (b *Backend) Exists(ctx context.Context, key string) (bool, error) {
	return call(ctx, b, "exists", key, func(a *attempt, name string) (bool, error) {
		_, err := b.probe(a, name)
		return err == nil, missIsFalse(err)
	})
}
