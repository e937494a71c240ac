package filebackend

import (
	"context"
	"sync"
	"time"
)

// The bound is enforced from nine tenths on and down to seven, as the Python SDK
// does, so that a full directory is not listed on every write.
const (
	evictFrom = 0.9
	evictTo   = 0.7
)

const (
	// recountAfter is how often a process that writes lists the directory, to
	// learn of what others wrote.
	recountAfter = 30 * time.Second
	// scanShare bounds the time spent on listing: one part in a hundred.
	scanShare = 100
	// futilePause keeps a directory that cannot be emptied from being listed on
	// every write.
	futilePause = time.Second
)

// usage is what this process knows of the size of the directory: what the last
// listing found and what it has changed itself since then.
type usage struct {
	mu             sync.Mutex
	bytes, entries int64
	counted        bool
	due            time.Time     // when to list again for what others did
	hold           time.Time     // no eviction before this
	running        chan struct{} // closed when the pass under way has ended, else nil
}

// known returns the totals, if they were counted once.
func (u *usage) known() (bytes, entries int64, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return max(u.bytes, 0), max(u.entries, 0), u.counted
}

// count records a change by this process.
func (b *Backend) count(bytes, entries int64) {
	u := &b.usage
	u.mu.Lock()
	u.bytes += bytes
	u.entries += entries
	u.mu.Unlock()
}

func (b *Backend) reached(share float64) int64 { return int64(share * float64(b.opts.MaxBytes)) }

// enforceIfDue starts a pass in the background if the bound is near or the
// directory has not been listed for a while.
func (b *Backend) enforceIfDue() {
	if !b.opts.bounded() {
		return
	}
	now := time.Now()
	u := &b.usage
	u.mu.Lock()
	defer u.mu.Unlock()
	full := u.bytes >= b.reached(evictFrom) && now.After(u.hold)
	if u.running != nil || !full && u.counted && now.Before(u.due) || b.acquire() != nil {
		return
	}
	done := make(chan struct{})
	u.running = done
	go func() {
		defer b.release()
		defer close(done)
		b.enforce()
	}()
}

// awaitRoom waits for the pass under way if the bound is passed.
func (b *Backend) awaitRoom(ctx context.Context) error {
	if !b.opts.bounded() {
		return nil
	}
	u := &b.usage
	u.mu.Lock()
	running, full := u.running, u.bytes >= b.opts.MaxBytes
	u.mu.Unlock()
	if !full || running == nil {
		return nil
	}
	select {
	case <-running:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// settle records what a listing found that began when this process knew of
// bytes and entries. What it added meanwhile may be counted twice, until the
// next one.
func (u *usage) settle(bytes, entries, foundBytes, foundEntries int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.bytes = foundBytes + max(u.bytes-bytes, 0)
	u.entries = foundEntries + max(u.entries-entries, 0)
	u.counted = true
}

// finish ends the pass that began at start and says when the next may begin.
func (u *usage) finish(start time.Time, listed, full bool) {
	now := time.Now()
	cost := scanShare * now.Sub(start)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.running = nil
	u.due = now.Add(max(recountAfter, cost))
	if full || !listed {
		u.hold = now.Add(max(futilePause, cost))
		u.due = u.hold
	}
}
