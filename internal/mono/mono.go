// Package mono tells the time as a number that no one can set: what is stored
// as a wall-clock time and compared later waits for an hour if the clock is set
// back by one, and is over at once if it is set forward.
package mono

import (
	"math"
	"time"
)

// epoch lies before the process began, so that the number 0 is long ago.
var epoch = time.Now().Add(-time.Hour)

// Now is the monotonic time in nanoseconds since a moment that only this process
// knows. It is never 0.
func Now() int64 { return int64(time.Since(epoch)) }

// In is when d will have passed.
func In(d time.Duration) int64 { return after(Now(), d) }

// At is t, of which now is at what distance: now is a reading of [time.Now], t may
// come without a monotonic one and is then taken by the wall clock of now.
func At(t, now time.Time) int64 { return after(int64(now.Sub(epoch)), t.Sub(now)) }

// after is at + d. A time that is too far to be told is the last one.
func after(at int64, d time.Duration) int64 {
	if int64(d) > math.MaxInt64-at {
		return math.MaxInt64
	}
	return at + int64(d)
}
