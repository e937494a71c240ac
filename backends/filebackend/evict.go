package filebackend

import (
	"cmp"
	"slices"
	"time"
)

// accessGrain is how exactly reads are recorded: an entry that is read all the
// time costs one more system call in each grain.
const accessGrain = 10 * time.Second

// markUsed records in the access time of a file that it was read, so that the
// order survives this process and is shared with others. It does not depend on
// how the file system is mounted (relatime, noatime).
func (b *Backend) markUsed(name string, f *file) {
	if !b.opts.bounded() {
		return
	}
	now := time.Now().UnixNano()
	if f.read <= f.wrote || now-f.read > int64(accessGrain) {
		b.dir.setAccessTime(name, now, f.info)
	}
}

// entry is an entry found by a listing.
type entry struct {
	name string
	info
}

// enforce lists the directory, and removes the least recently used entries if
// all take too much.
func (b *Backend) enforce() {
	start := time.Now()
	bytes, entries, _ := b.usage.known()
	found, total, err := b.list(start)
	if err == nil {
		b.usage.settle(bytes, entries, total, int64(len(found)))
		if total >= b.reached(evictFrom) {
			total = b.evict(found, total)
		}
	}
	b.usage.finish(start, err == nil, total >= b.reached(evictFrom))
}

// list returns the entries and what they take, and removes the temporary files
// of killed processes on the way.
func (b *Backend) list(now time.Time) (found []entry, total int64, err error) {
	err = b.dir.walk(func(name string, i info) bool {
		if isEntryName(name) {
			total += blocks(i.size)
			i.read, i.wrote = min(i.read, now.UnixNano()), min(i.wrote, now.UnixNano())
			found = append(found, entry{name, i})
		}
		b.sweepTemp(name, i)
		return !b.stopped()
	})
	return found, total, err
}

// evict removes entries, the least recently used first, until seven tenths of
// the bound are left, and returns how much is left.
func (b *Backend) evict(found []entry, total int64) int64 {
	slices.SortFunc(found, func(x, y entry) int {
		return cmp.Or(cmp.Compare(x.used(), y.used()), cmp.Compare(x.name, y.name))
	})
	for i := range found {
		if total <= b.reached(evictTo) || b.stopped() {
			break
		}
		if b.evictOne(&found[i]) {
			total -= blocks(found[i].size)
		}
	}
	return total
}

// evictOne removes an entry, unless it is of another version, in use, or not
// the one that was listed any more.
func (b *Backend) evictOne(e *entry) bool {
	if !b.tryLock(e.name) {
		return false
	}
	defer b.unlock(e.name)
	f, h, err := b.peek(nil, e.name)
	if err != nil {
		return false
	}
	defer f.close()
	return f.id == e.id && h.state != stateUnknown && b.remove(e.name, f.size) == nil
}

func (b *Backend) stopped() bool { return b.closed.Load() }
