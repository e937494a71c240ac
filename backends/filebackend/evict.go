package filebackend

import (
	"slices"
	"strings"
	"time"
)

// tempAge is when a temporary file counts as left behind by a killed process.
const tempAge = 10 * time.Minute

// The bound is enforced at nine tenths and down to seven, as the Python SDK
// does, so that a full directory is not scanned on every write.
const (
	evictFrom = 0.9
	evictTo   = 0.7
)

// grew adds n bytes to the estimate and enforces the bound when it is reached.
// Overwrites make the estimate too high; the scan that follows corrects it.
func (b *Backend) grew(n int64) {
	if b.opts.MaxBytes < 0 {
		return
	}
	u := &b.usage
	u.mu.Lock()
	u.size += n
	due := !u.know || float64(u.size) >= evictFrom*float64(b.opts.MaxBytes)
	u.know = true
	if due {
		u.size = 0 // nobody else scans meanwhile
	}
	u.mu.Unlock()
	if due {
		b.enforce()
	}
}

// enforce counts the files and removes the least recently used entries if they
// take too much.
func (b *Backend) enforce() {
	files, err := b.dir.scan()
	if err != nil {
		return
	}
	var total int64
	entries := files[:0]
	for _, f := range files {
		if isEntryName(f.name) {
			total += f.size
			entries = append(entries, f)
		}
	}
	if float64(total) >= evictFrom*float64(b.opts.MaxBytes) {
		b.usage.order(entries)
		for _, f := range entries {
			if float64(total) <= evictTo*float64(b.opts.MaxBytes) {
				break
			}
			if b.evict(f.name) {
				total -= f.size
			}
		}
	}
	b.usage.mu.Lock()
	b.usage.size += total
	b.usage.mu.Unlock()
}

// order sorts the least recently used first: by when this process last used an
// entry, or by when any process last wrote it if that is later.
func (u *usage) order(files []info) {
	u.mu.Lock()
	defer u.mu.Unlock()
	last := func(f info) int64 { return max(u.at[f.name], f.mtime.Unix()) }
	slices.SortFunc(files, func(a, b info) int {
		if d := last(a) - last(b); d != 0 {
			return int(max(min(d, 1), -1))
		}
		return strings.Compare(a.name, b.name)
	})
}

// evict removes one entry, unless it is of another version or in use.
func (b *Backend) evict(name string) bool {
	if !b.tryLock(name) {
		return false
	}
	defer b.unlock(name)
	h, f, err := b.peek(name)
	if err != nil {
		return false
	}
	f.close()
	if h.state == stateForeign || b.dir.remove(name) != nil {
		return false
	}
	b.usage.forget(name)
	return true
}

// sweeper removes what has expired until the backend is closed.
func (b *Backend) sweeper() {
	t := time.NewTicker(b.opts.SweepInterval)
	defer t.Stop()
	for {
		select {
		case <-b.stop:
			return
		case <-t.C:
			b.Sweep()
		}
	}
}

// Sweep removes expired and corrupt entries, expired locks and temporary files
// older than ten minutes now, and returns how many files went. Files of other
// versions and foreign names are left alone.
func (b *Backend) Sweep() (removed int) {
	if b.acquire() != nil {
		return 0
	}
	defer b.release()
	files, err := b.dir.scan()
	if err != nil {
		return 0
	}
	for _, f := range files {
		select {
		case <-b.stop:
			return removed
		default:
		}
		if b.sweep(f) {
			removed++
		}
	}
	return removed
}

func (b *Backend) sweep(f info) bool {
	lock, isLock := strings.CutPrefix(f.name, lockPrefix)
	switch {
	case isTempName(f.name):
		return time.Since(f.mtime) > tempAge && b.dir.remove(f.name) == nil
	case isLock && isEntryName(lock):
		if !b.tryLock(lock) {
			return false
		}
		defer b.unlock(lock)
		_, held, err := b.readLock(lock)
		return err == nil && !held && b.dir.remove(f.name) == nil
	case !isEntryName(f.name) || !b.tryLock(f.name):
		return false
	}
	defer b.unlock(f.name)
	h, open, err := b.peek(f.name)
	if err != nil {
		return false
	}
	open.close()
	if h.state == stateLive || h.state == stateForeign {
		return false
	}
	b.usage.forget(f.name)
	return b.dir.remove(f.name) == nil
}
