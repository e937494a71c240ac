package filebackend

import (
	"context"
	"path/filepath"
	"time"
)

// FileName is the name of the file of a key.
func FileName(key string) string { return fileName(key) }

// OpenGated is Open on a disk whose system calls pass gate first: it may block
// or fail.
func OpenGated(path string, opts *Options, gate func() error) (*Backend, error) {
	return open(path, opts, gate)
}

// InMemory reports whether calls under a context that can end run in place.
func (b *Backend) InMemory() bool { return b.dir.memory.Load() }

// PretendMemory has them run there.
func (b *Backend) PretendMemory() { b.dir.memory.Store(true) }

// InPlaceBytes is the size of a value up to which they do.
const InPlaceBytes = inPlaceBytes

// BatchWorkers is how many groups of batches are written at once.
const BatchWorkers = batchWorkers

// Enforce makes one pass of the bound and waits for it.
func (b *Backend) Enforce() {
	b.usage.mu.Lock()
	b.usage.counted, b.usage.hold = false, time.Time{}
	b.usage.mu.Unlock()
	b.enforceIfDue()
	b.AwaitPass()
}

// AwaitPass waits for the pass of the bound that is under way.
func (b *Backend) AwaitPass() {
	b.usage.mu.Lock()
	running := b.usage.running
	b.usage.mu.Unlock()
	if running != nil {
		<-running
	}
}

// HoldLock takes the lock of a key's file as another process would hold it.
func (b *Backend) HoldLock(ctx context.Context, key string) (release func(), err error) {
	name := fileName(key)
	if err := b.lock(ctx, name); err != nil {
		return nil, err
	}
	return func() { b.unlock(name) }, nil
}

// HeaderState parses a header: live, expired, unknown or corrupt, with the
// time left.
func HeaderState(b []byte, now time.Time) (string, time.Duration) {
	h := parseHeader(b, now)
	return map[state]string{stateLive: "live", stateExpired: "expired", stateUnknown: "unknown", stateCorrupt: "corrupt"}[h.state], h.ttl
}

// NewHeader is the header of an entry that is written at now.
func NewHeader(now time.Time, ttl time.Duration) ([]byte, error) {
	expiry, err := expiryOf(now, ttl)
	return newHeader(expiry), err
}

// MaxDetached bounds the goroutines that a stalled disk holds.
const MaxDetached = maxDetached

// Idle waits until no call is under way, abandoned ones included.
func (b *Backend) Idle() {
	for range cap(b.slots) {
		b.slots <- struct{}{}
	}
	for range cap(b.slots) {
		<-b.slots
	}
}

// Times are the access and modification time of a file.
func Times(path string) (read, wrote time.Time) {
	d, err := openDir(filepath.Dir(path), nil)
	if err != nil {
		return
	}
	defer d.close()
	i, err := d.stat(filepath.Base(path))
	if err != nil {
		return
	}
	return time.Unix(0, i.read), time.Unix(0, i.wrote)
}
