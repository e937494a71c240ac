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

// SinceEndedBeat is how long ago a call seems to have begun that begins now, while
// the timer of a beat that ended ago is between its two steps.
func SinceEndedBeat(ago time.Duration) time.Duration {
	p := pulse{epoch: time.Now().Add(-ago - longestBeat), length: longestBeat}
	t := new(beat)
	t.ended.Store(int64(longestBeat))
	p.current.Store(t)
	return p.since(p.begin())
}
