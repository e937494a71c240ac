package l1

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lookEvery is how much time may run before the wall clock is looked at
	// again, and so how much longer an entry may be served after a suspension.
	// Reading both clocks for each hit would double its price.
	lookEvery = time.Millisecond
	// setBack is from when on a loss of the wall clock is a clock that was set,
	// and not the distance between the readings of the two clocks.
	setBack = time.Second
)

// clock tells how much time has passed: by the monotonic clock, which a
// suspended host stops, and whatever the wall clock leaps forward beyond it. A
// wall clock that is set back takes nothing away.
type clock struct {
	base  time.Time
	ahead atomic.Int64 // the sum of the wall clock's leaps
	next  atomic.Int64 // when the wall clock is looked at next

	mu     sync.Mutex
	offset int64 // wall minus monotonic clock, when they were last compared
}

func (c *clock) start() {
	c.base = time.Now()
	c.offset = c.base.UnixNano()
}

// now is the time since start, in nanoseconds. It never goes back.
func (c *clock) now() int64 {
	mono := int64(time.Since(c.base))
	if mono >= c.next.Load() && c.mu.TryLock() {
		now := time.Now()
		c.compare(int64(now.Sub(c.base)), now.UnixNano())
		c.mu.Unlock()
	}
	return mono + c.ahead.Load()
}

// compare is called with the clock locked.
func (c *clock) compare(mono, wall int64) {
	switch gained := wall - mono - c.offset; {
	case gained > 0:
		c.offset += gained
		c.ahead.Add(gained)
	case gained < -int64(setBack):
		c.offset += gained
	}
	c.next.Store(mono + int64(lookEvery))
}
