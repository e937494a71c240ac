package memorybackend

import (
	"sync"
	"time"
)

// Clock is a clock that stands still until it is moved. Several backends may
// share one. It is safe for concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that shows now.
func NewClock(now time.Time) *Clock { return &Clock{now: now} }

// Now returns what the clock shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock forward by d; a negative d moves it back, as an
// operator might, and what has expired and was not looked at is there again.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// deadline is when something that is kept for ttl ends; the zero time is never.
func deadline(now time.Time, ttl time.Duration) time.Time {
	if ttl == forEver {
		return time.Time{}
	}
	return now.Add(ttl)
}

// left is the time from now to end, forEver if there is no end. It is positive
// exactly if end has not come.
func left(now, end time.Time) time.Duration {
	if end.IsZero() {
		return forEver
	}
	return end.Sub(now)
}
