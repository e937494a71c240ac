package filebackend

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

// backendType is how errors and Health name this storage.
const backendType = "file"

// Defaults of Options.
const (
	DefaultMaxBytes      = 1 << 30
	DefaultMaxValueBytes = 100 << 20
	DefaultSweepInterval = 10 * time.Minute
)

// ErrUnsafe refuses a directory that others could write to or that belongs to
// somebody else.
var ErrUnsafe = errors.New("filebackend: directory is not safe")

// Options configures a backend; nil or zero is the default.
type Options struct {
	// MaxBytes bounds the files of the directory; when they take nine tenths of
	// it, the least recently used go until they take seven. Default 1 GiB;
	// negative is no bound.
	MaxBytes int64
	// MaxValueBytes bounds one value, both ways. Default 100 MiB.
	MaxValueBytes int64
	// SweepInterval is how often expired entries and temporary files of killed
	// processes are removed. Default 10 minutes; negative is never (they go
	// when they are asked for, or by the bound).
	SweepInterval time.Duration
	// Sync makes each write durable against a power cut before it returns, by
	// fsync of the file and of the directory.
	Sync bool
}

// Backend stores entries in one directory. It is safe for concurrent use, also
// with other processes.
type Backend struct {
	opts    Options
	dir     *dir
	refs    atomic.Int64 // calls under way, and one for being open
	closed  atomic.Bool
	stop    chan struct{}
	stripes [stripeCount]chan struct{}
	usage   usage
	temps   atomic.Uint64
	start   uint64
}

// Open opens the directory at path, which it creates with mode 0700 if there is
// none. The error is ErrUnsafe, or the operating system's.
func Open(path string, opts *Options) (*Backend, error) {
	b := &Backend{stop: make(chan struct{}), start: rand.Uint64()}
	if opts != nil {
		b.opts = *opts
	}
	if b.opts.MaxBytes == 0 {
		b.opts.MaxBytes = DefaultMaxBytes
	}
	if b.opts.MaxValueBytes <= 0 {
		b.opts.MaxValueBytes = DefaultMaxValueBytes
	}
	if b.opts.SweepInterval == 0 {
		b.opts.SweepInterval = DefaultSweepInterval
	}
	for i := range b.stripes {
		b.stripes[i] = make(chan struct{}, 1)
	}
	d, err := openDir(path)
	if err != nil {
		return nil, fmt.Errorf("filebackend: opening the cache directory: %w", err)
	}
	b.dir = d
	b.refs.Store(1)
	if b.opts.SweepInterval > 0 {
		go b.sweeper()
	}
	return b, nil
}

// Close stops the sweep and closes the directory once the calls under way have
// ended.
func (b *Backend) Close() error {
	if !b.closed.Swap(true) {
		close(b.stop)
		b.release()
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
	}
}

// Get returns the value stored under key, which the caller owns.
func (b *Backend) Get(ctx context.Context, key string) ([]byte, error) {
	e, err := b.GetEntry(ctx, key)
	return e.Value, err
}

// GetEntry returns the value stored under key with its remaining TTL.
func (b *Backend) GetEntry(ctx context.Context, key string) (backends.Entry, error) {
	return call(ctx, b, "get", key, func(_ *abandon, name string) (backends.Entry, error) {
		raw, h, err := b.read(name)
		if err != nil {
			return backends.Entry{}, err
		}
		b.usage.touch(name)
		return backends.Entry{Value: raw[headerSize:len(raw):len(raw)], TTL: h.ttl(time.Now())}, nil
	})
}

// read returns the whole content of a live file. The error is
// backends.ErrNotFound for all that reads as a miss; what the family removes on
// sight, expired and corrupt files, is removed.
func (b *Backend) read(name string) ([]byte, header, error) {
	f, err := b.dir.open(name, false)
	if err != nil {
		return nil, header{}, missing(err)
	}
	defer f.close()
	if f.size > headerSize+b.opts.MaxValueBytes {
		return nil, header{}, errTooLarge
	}
	raw := make([]byte, f.size)
	n, err := f.readAt(raw, 0)
	if err != nil {
		return nil, header{}, err
	}
	switch h := parseHeader(raw[:n], time.Now()); h.state {
	case stateLive:
		return raw[:n], h, nil
	case stateForeign:
		return nil, header{}, backends.ErrNotFound
	}
	b.removeIfSame(name, f)
	return nil, header{}, backends.ErrNotFound
}

// missing turns what reads as a miss into ErrNotFound.
func missing(err error) error {
	if isNotExist(err) || errors.Is(err, errForeign) {
		return backends.ErrNotFound
	}
	return err
}

// removeIfSame removes the expired or corrupt file f, unless another has taken
// its name. It gives up if somebody holds the lock: the file reads as a miss
// either way.
func (b *Backend) removeIfSame(name string, f *file) {
	if !b.tryLock(name) {
		return
	}
	defer b.unlock(name)
	if b.dir.names(name, f) {
		b.dir.remove(name)
	}
}

// Set stores value under key.
func (b *Backend) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	expiry, err := expiryOf(time.Now(), ttl)
	if err != nil {
		return err
	}
	if int64(len(value)) > b.opts.MaxValueBytes {
		return &backends.Error{Op: "set", Backend: backendType, Kind: backends.TooLarge, Err: errTooLarge}
	}
	if ctx.Done() != nil {
		value = append([]byte(nil), value...) // an abandoned call may still be reading it
	}
	_, err = call(ctx, b, "set", key, func(a *abandon, name string) (struct{}, error) {
		return struct{}{}, b.write(ctx, a, name, expiry, value)
	})
	return err
}

// write puts a file into place, unless the call is abandoned before that.
func (b *Backend) write(ctx context.Context, a *abandon, name string, expiry uint64, value []byte) error {
	temp := b.tempName(name)
	if err := b.dir.create(temp, appendHeader(nil, expiry), value, b.opts.Sync); err != nil {
		return err
	}
	err := b.lock(ctx, name)
	if err == nil {
		err = b.commit(a, temp, name)
		b.unlock(name)
	}
	if err != nil {
		b.dir.remove(temp)
		return err
	}
	b.usage.touch(name)
	b.grew(headerSize + int64(len(value)))
	return nil
}

// commit renames a temporary file into place. The lock of the name is held.
func (b *Backend) commit(a *abandon, temp, name string) error {
	if !a.proceed() {
		return context.Canceled
	}
	if err := b.dir.rename(temp, name); err != nil {
		return err
	}
	if b.opts.Sync {
		return b.dir.sync()
	}
	return nil
}

// tempName makes a name that no other write uses, in the family's form
// "<name>.tmp.<process id>.<unique>", so that sister SDKs clean it up too.
func (b *Backend) tempName(name string) string {
	buf := append(make([]byte, 0, 80), name...)
	buf = append(buf, ".tmp."...)
	buf = strconv.AppendInt(buf, int64(os.Getpid()), 10)
	buf = append(buf, '.')
	buf = strconv.AppendUint(buf, b.start+b.temps.Add(1), 16)
	return string(buf)
}

// Delete removes the entry and reports whether there was a live one.
func (b *Backend) Delete(ctx context.Context, key string) (bool, error) {
	return call(ctx, b, "delete", key, func(a *abandon, name string) (bool, error) {
		if err := b.lock(ctx, name); err != nil {
			return false, err
		}
		defer b.unlock(name)
		h, f, err := b.peek(name)
		if err != nil || h.state == stateForeign {
			return false, missIsFalse(err)
		}
		defer f.close()
		if !a.proceed() {
			return false, context.Canceled
		}
		b.usage.forget(name)
		return h.state == stateLive, missIsFalse(missing(b.dir.remove(name)))
	})
}

// peek reads the header of a file and leaves the file open.
func (b *Backend) peek(name string) (header, *file, error) {
	f, err := b.dir.open(name, false)
	if err != nil {
		return header{}, nil, missing(err)
	}
	var raw [headerSize]byte
	n, err := f.readAt(raw[:], 0)
	if err != nil {
		f.close()
		return header{}, nil, err
	}
	return parseHeader(raw[:n], time.Now()), f, nil
}

func missIsFalse(err error) error {
	if errors.Is(err, backends.ErrNotFound) {
		return nil
	}
	return err
}

// Exists reports whether a live entry is stored under key.
func (b *Backend) Exists(ctx context.Context, key string) (bool, error) {
	return call(ctx, b, "exists", key, func(_ *abandon, name string) (bool, error) {
		h, f, err := b.peek(name)
		if err != nil {
			return false, missIsFalse(err)
		}
		f.close()
		return h.state == stateLive, nil
	})
}

// Health writes and removes a file.
func (b *Backend) Health(ctx context.Context) backends.Health {
	start := time.Now()
	h := backends.Health{BackendType: backendType}
	_, h.Err = call(ctx, b, "health", "health", func(_ *abandon, name string) (struct{}, error) {
		temp := b.tempName(name)
		if err := b.dir.create(temp, appendHeader(nil, 1), nil, false); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, b.dir.remove(temp)
	})
	h.Latency, h.OK = max(time.Since(start), 1), h.Err == nil
	h.Details = map[string]string{"max_bytes": strconv.FormatInt(b.opts.MaxBytes, 10)}
	return h
}

var (
	_ backends.Backend     = (*Backend)(nil)
	_ backends.EntryReader = (*Backend)(nil)
	_ backends.TTLer       = (*Backend)(nil)
	_ backends.Locker      = (*Backend)(nil)
	_ backends.Swapper     = (*Backend)(nil)
)

// stripe is the number of the lock of a file.
func stripe(name string) int {
	b, err := hex.DecodeString(name[:2])
	if err != nil {
		return 0
	}
	return int(b[0]) % stripeCount
}

// tryLock takes the lock of name in this process and between processes, without
// waiting.
func (b *Backend) tryLock(name string) bool {
	i := stripe(name)
	select {
	case b.stripes[i] <- struct{}{}:
	default:
		return false
	}
	if ok, err := b.dir.tryLock(i); !ok || err != nil {
		<-b.stripes[i]
		return false
	}
	return true
}

// lock is tryLock that waits until ctx ends.
func (b *Backend) lock(ctx context.Context, name string) error {
	i := stripe(name)
	select {
	case b.stripes[i] <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	for wait := 20 * time.Microsecond; ; wait = min(2*wait, 2*time.Millisecond) {
		ok, err := b.dir.tryLock(i)
		if ok {
			return nil
		}
		if err == nil {
			err = pause(ctx, wait)
		}
		if err != nil {
			<-b.stripes[i]
			return err
		}
	}
}

func (b *Backend) unlock(name string) {
	i := stripe(name)
	b.dir.unlock(i)
	<-b.stripes[i]
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// usage remembers when entries were last used by this process.
type usage struct {
	mu   sync.Mutex
	at   map[string]int64 // Unix seconds
	size int64            // bytes in the directory, an upper estimate
	know bool             // whether size has been counted once
}

func (u *usage) touch(name string) {
	now := time.Now().Unix()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.at == nil {
		u.at = make(map[string]int64)
	}
	u.at[name] = now
}

func (u *usage) forget(name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.at, name)
}
