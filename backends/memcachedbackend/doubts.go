package memcachedbackend

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxDoubts bounds what doubts remembers, in keys.
	maxDoubts = 1 << 14
	// drain is how long a server that answers again is given to execute what it
	// had received before. Its worker threads take it up at once, but in no order
	// with those that serve us.
	drain = 25 * time.Millisecond
)

// doubts remembers the keys of writes that this backend sent and gave up, as
// hashes. A server process that stood still can execute such a write when it goes
// on, so the next write to the key first waits for that.
type doubts struct {
	seed  maphash.Seed
	count atomic.Int64

	mu    sync.Mutex
	turn  uint64
	marks map[uint64]uint64
}

func newDoubts() doubts {
	return doubts{seed: maphash.MakeSeed(), marks: map[uint64]uint64{}}
}

func (d *doubts) add(key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for h := range d.marks {
		if len(d.marks) < maxDoubts {
			break
		}
		delete(d.marks, h)
	}
	d.turn++
	d.marks[maphash.String(d.seed, key)] = d.turn
	d.count.Store(int64(len(d.marks)))
}

// find returns the marks of those of n keys that have one.
func (d *doubts) find(n int, key func(int) string) map[uint64]uint64 {
	if d.count.Load() == 0 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	found := map[uint64]uint64{}
	for i := range n {
		h := maphash.String(d.seed, key(i))
		if turn, ok := d.marks[h]; ok {
			found[h] = turn
		}
	}
	return found
}

// forget removes marks, but not those that a later failure has renewed.
func (d *doubts) forget(marks map[uint64]uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for h, turn := range marks {
		if d.marks[h] == turn {
			delete(d.marks, h)
		}
	}
	d.count.Store(int64(len(d.marks)))
}

// settle waits, if there are doubts about any of n keys of a server, until it
// has executed what it received before.
func (b *Backend) settle(ctx context.Context, s *server, n int, key func(int) string) error {
	marks := b.doubts.find(n, key)
	if len(marks) == 0 {
		return nil
	}
	_, _, err := run(ctx, b, s, func(se *session) (string, error) { return se.version(false) })
	if err != nil {
		return err
	}
	timer := time.NewTimer(drain)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	b.doubts.forget(marks)
	return nil
}
