package resilient

import "time"

// SinceLateBeat is how long ago a call seems to have begun in a beat that began
// late ago, and ends now or has not ended.
func SinceLateBeat(late time.Duration, ended bool) time.Duration {
	p := pulse{epoch: time.Now().Add(-late), length: longestBeat}
	t := new(beat)
	if ended {
		t.ended.Store(int64(p.now()))
	}
	return p.since(moment{in: t})
}
