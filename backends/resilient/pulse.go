package resilient

import (
	"sync/atomic"
	"time"
)

const (
	// longestBeat is how long one reading of the clock serves at most.
	longestBeat = 100 * time.Millisecond
	// closeTogether is how soon after another a call begins where a timer costs
	// less than the readings that it saves. It wakes a thread.
	closeTogether = 100 * time.Microsecond
)

// pulse tells when calls began. While they come close together, one reading of
// the clock serves those of a beat: it costs as much as all else that this package
// adds to a call.
type pulse struct {
	epoch   time.Time
	length  time.Duration        // of a beat
	current atomic.Pointer[beat] // nil between beats
	last    atomic.Int64         // reading, between beats
}

// beat is a time in which calls began.
type beat struct {
	began time.Duration
	ended atomic.Int64 // 0 as long as it lasts
}

// moment is the time of a reading, or one in a beat. The zero moment is none.
type moment struct {
	at time.Duration
	in *beat
}

// now is the time since the wrapper was built: half the cost of time.Now, which
// reads two clocks.
func (p *pulse) now() time.Duration { return time.Since(p.epoch) }

// begin is the moment of a call that begins.
func (p *pulse) begin() moment {
	if t := p.current.Load(); t != nil && t.ended.Load() == 0 {
		return moment{in: t}
	}
	now := p.now()
	if now-time.Duration(p.last.Swap(int64(now))) < closeTogether {
		p.beat(now)
	}
	return moment{at: now}
}

func (p *pulse) beat(now time.Duration) {
	t := &beat{began: now}
	if !p.current.CompareAndSwap(nil, t) {
		return
	}
	time.AfterFunc(p.length, func() {
		t.ended.Store(int64(p.now()))
		p.current.Store(nil)
	})
}

// since is how long ago m was, or at most the length of a beat more. That of a beat
// whose timer was late, because the process was stopped, is counted from its end.
func (p *pulse) since(m moment) time.Duration {
	now := p.now()
	if m.in == nil {
		return now - m.at
	}
	end := now
	if ended := m.in.ended.Load(); ended != 0 {
		end = time.Duration(ended)
	}
	return now - max(m.in.began, end-p.length)
}
