package filebackend

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

// read returns the entry in a live file. All that reads as a miss is
// ErrNotFound; what the family removes on sight, expired and corrupt files, is
// removed.
func (b *Backend) read(a *attempt, name string) (backends.Entry, error) {
	f, err := b.open(a, name)
	if err != nil {
		return backends.Entry{}, missing(err)
	}
	defer f.close()
	raw, h, err := b.load(&f)
	if err != nil {
		return backends.Entry{}, err
	}
	if err := b.judge(name, &f, h); err != nil {
		return backends.Entry{}, err
	}
	b.markUsed(name, &f)
	return backends.Entry{Value: raw[headerSize:len(raw):len(raw)], TTL: h.ttl}, nil
}

// open opens the file of an entry to read or to remove it, which takes time by
// its size.
func (b *Backend) open(a *attempt, name string) (file, error) {
	f, err := b.dir.open(name, false)
	if err == nil && a.tooLong(f.size) {
		f.close()
		err = errHandOver
	}
	return f, err
}

// load reads a file whole, in one read so that its header is of one piece
// (FILE-6). The size is that of the open file, checked before anything is
// allocated; a file that shrinks meanwhile is corrupt.
func (b *Backend) load(f *file) ([]byte, header, error) {
	if f.size > headerSize+b.opts.MaxValueBytes {
		var head [headerSize]byte
		n, err := f.readAt(head[:])
		h := parseHeader(head[:n], time.Now())
		if err == nil && h.state == stateLive {
			err = errTooLarge
		}
		return nil, h, err
	}
	raw := make([]byte, f.size)
	n, err := f.readAt(raw)
	if err != nil {
		return nil, header{}, err
	}
	if n < len(raw) {
		return nil, header{state: stateCorrupt}, nil
	}
	return raw, parseHeader(raw, time.Now()), nil
}

// judge returns nil for a live file and ErrNotFound for any other.
func (b *Backend) judge(name string, f *file, h header) error {
	switch h.state {
	case stateLive:
		return nil
	case stateExpired, stateCorrupt:
		b.removeIfSame(name, f)
	}
	return backends.ErrNotFound
}

// probe reads the header of a live file; for the rest it is like read.
func (b *Backend) probe(a *attempt, name string) (header, error) {
	f, h, err := b.peek(a, name)
	if err != nil {
		return header{}, err
	}
	defer f.close()
	return h, b.judge(name, &f, h)
}

// peek opens a file and parses its header, whatever it says.
func (b *Backend) peek(a *attempt, name string) (file, header, error) {
	f, err := b.open(a, name)
	if err != nil {
		return file{}, header{}, missing(err)
	}
	var head [headerSize]byte
	n, err := f.readAt(head[:])
	if err != nil {
		f.close()
		return file{}, header{}, err
	}
	return f, parseHeader(head[:n], time.Now()), nil
}

// removeIfSame removes the expired or corrupt file f, unless another has taken
// its name. It gives up where somebody holds the lock: the file reads as a miss
// either way.
func (b *Backend) removeIfSame(name string, f *file) bool {
	if !b.tryLock(name) {
		return false
	}
	defer b.unlock(name)
	now, err := b.dir.stat(name)
	return err == nil && now.id == f.id && b.remove(name, f.size) == nil
}

// remove removes an entry of the given size; the lock of name is held.
func (b *Backend) remove(name string, size int64) error {
	err := b.dir.remove(name)
	if err == nil {
		b.count(-blocks(size), -1)
	}
	return err
}

// write is one Set that has been checked.
type write struct {
	item   int // of which item of a batch
	name   string
	expiry uint64
	value  []byte
	late   func() // is called when its lock is late; nil for none
}

func (b *Backend) writeOf(it *backends.Item) (write, error) {
	expiry, err := expiryOf(time.Now(), it.TTL)
	if err == nil {
		err = b.fits("set", it.Value)
	}
	if err == nil {
		err = backends.CheckKey(it.Key)
	}
	if err != nil {
		return write{}, err
	}
	return write{name: fileName(it.Key), expiry: expiry, value: it.Value}, nil
}

// write puts a file into place, unless the call is abandoned before that.
func (b *Backend) write(ctx context.Context, a *attempt, w *write) error {
	if err := b.awaitRoom(ctx); err != nil {
		return err
	}
	temp := b.tempName(w.name)
	if err := b.create(a, temp, newHeader(w.expiry), w.value, b.opts.Sync); err != nil {
		return err
	}
	err := b.lockOr(ctx, w.name, w.late)
	if err == nil {
		err = b.replace(a, temp, w.name, headerSize+int64(len(w.value)))
		b.unlock(w.name)
	}
	if err != nil {
		_ = b.dir.remove(temp)
		return err
	}
	if b.opts.Sync {
		err = b.dir.sync()
	}
	b.enforceIfDue()
	return err
}

// create writes a temporary file. If the directory was removed, it is opened
// again, once, with all the checks of Open; the file systems on the way may be
// others than its own.
func (b *Backend) create(a *attempt, temp string, head, value []byte, sync bool) error {
	err := b.dir.create(temp, head, value, sync)
	if errors.Is(err, syscall.ENOENT) {
		if a.inPlace() {
			return errHandOver
		}
		if err = b.dir.reopen(); err == nil {
			err = b.dir.create(temp, head, value, sync)
		}
	}
	return err
}

// replace renames a temporary file of the given size to name, whose lock is
// held.
func (b *Backend) replace(a *attempt, temp, name string, size int64) error {
	bytes, entries := blocks(size), int64(1)
	switch old, err := b.dir.stat(name); {
	case err == nil && a.tooLong(old.size):
		return errHandOver
	case err == nil:
		bytes, entries = bytes-blocks(old.size), 0
	case !errors.Is(err, syscall.ENOENT):
		return err
	}
	if !a.proceed() {
		return errAbandoned
	}
	if err := b.dir.rename(temp, name); err != nil {
		return err
	}
	b.count(bytes, entries)
	return nil
}
