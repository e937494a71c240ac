package redisbackend

import (
	"context"
	"os"
	"runtime"
	"time"
)

const (
	// lonely is how many writes in a row have to find nothing under way before
	// their callers are left to read the answers themselves.
	lonely = 64
	// again is how many of them are enough after a lull, which is no sign of
	// company.
	again = 4
	// lull is how long the socket is left to callers after the last of them. A
	// report waits for the next caller, or for two lulls at most.
	lull = time.Millisecond
	// glance is how long a caller reads before he looks whether his context has
	// ended. With grace it makes 60 of the 100 ms that package backends allows.
	glance = 10 * time.Millisecond
)

// reader is who reads what arrives. He alone uses the parser and what is said to
// be the reader's, and another follows him only between two answers.
type reader byte

const (
	readerSession reader = iota // the goroutine of the session
	readerCaller                // the caller of a write that has been sent
	readerNobody                // for a lull, in which a caller may begin
)

// patience is how long a caller reads; the session itself has no end of it.
type patience struct {
	ctx   context.Context
	late  time.Time // when his write is given up; zero if the session ends before
	cause error     // why it is given up
	until time.Time // how long it is still waited for then
}

// read handles what arrives until the connection ends.
//
// A caller who is alone waits for his answer at the socket: this goroutine would
// have to be woken first, and then wake him. While such callers write one after
// the other, nobody reads between their writes, because to call a reader off the
// socket costs as much as a wake-up.
//
// A report may so wait for two lulls, which does not touch I8: whoever reads
// handles answers and reports in the order of the server. A read that was answered
// with what was there before the change was sent before the report is handled,
// however late that is, so its copy is dropped then if it has been made and not
// made if it has not. The wait prolongs how long such a copy may be served, as the
// network does, and nothing else.
func (s *session) read() error {
	for {
		s.served = false
		if err := s.next(); err != nil {
			return err
		}
		if !s.served || s.r.Buffered() > 0 {
			continue
		}
		if s.lend() {
			s.pause()
		} else {
			runtime.Gosched() // the caller goes on before the socket is asked again
		}
	}
}

// lend leaves the socket to callers if they have come one by one. Without an alarm,
// for want of a file descriptor, it does not.
func (s *session) lend() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.alone < lonely || s.waiting.len()+len(s.queue) > 0 {
		return false
	}
	if s.lapse == nil {
		var err error
		if s.lapse, err = newAlarm(); err != nil {
			s.alone = 0
			return false
		}
	}
	s.reader, s.lent = readerNobody, time.Time{}
	s.lapse.set(lull)
	return true
}

// prolong is called for each caller who reads, with the session locked. It puts
// off the end of the lull, once in one at most. Nothing is woken as long as they come.
func (s *session) prolong(now time.Time) {
	if now.Sub(s.lent) > lull {
		s.lent = now
		s.lapse.set(2 * lull)
	}
}

// pause waits until the session has to read again: because a caller has left
// something to do, or none has come in a lull. At the end of the session it waits
// for the caller who reads, so that he handles nothing of it later.
func (s *session) pause() {
	defer s.lapse.set(0)
	for ended, lapsed := s.ended, false; !s.resumes(lapsed); {
		lapsed = false
		select {
		case <-s.handed:
		case <-ended:
			ended = nil
		case <-s.lapse.rang:
			lapsed = true
		}
	}
	if !s.step.IsZero() {
		s.step = time.Time{}
		_ = s.conn.SetReadDeadline(s.step) // or else the next read fails
	}
}

// resumes reports whether the session reads from now on. It does so after a lull
// without callers; they have to show anew then that they come one by one.
func (s *session) resumes(lapsed bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reader == readerNobody && (s.over || lapsed) {
		s.reader, s.alone = readerSession, lonely-again
	}
	if lapsed && s.reader == readerCaller {
		s.lapse.set(lull)
	}
	return s.reader == readerSession
}

// recall has the session read again if nobody does, with the session locked.
func (s *session) recall() {
	if s.reader != readerNobody {
		return
	}
	s.reader = readerSession
	select {
	case s.handed <- struct{}{}:
	default:
	}
}

// readFor reads until w has been answered or the session has ended, which it does
// if w is given up: bytes on their way could be executed after a newer write by
// somebody else.
func (s *session) readFor(ctx context.Context, w *linkWrite, limit time.Duration) error {
	s.patience = patience{ctx: ctx}
	if ctx.Done() != nil || limit < endsAfter {
		now := time.Now()
		if limit < endsAfter {
			s.patience.late = now.Add(limit)
		}
		if s.step.Sub(now) < glance/2 {
			s.step = now.Add(glance)
			_ = s.conn.SetReadDeadline(s.step)
		}
	}
	for len(w.done) == 0 {
		if err := s.next(); err != nil {
			s.end(err)
			break
		}
	}
	cause := s.patience.cause
	s.leave()
	<-w.done
	return w.outcome(cause)
}

// leave ends the reading of a caller.
func (s *session) leave() {
	s.patience = patience{}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reader = readerNobody
	if s.waiting.len()+len(s.queue) > 0 || s.r.Buffered() > 0 {
		s.recall()
	}
}

// patient is the connection, read in steps by callers.
type patient struct{ *session }

func (p patient) Read(b []byte) (int, error) {
	for {
		n, err := p.conn.Read(b)
		if n > 0 || err == nil || p.patience.ctx == nil || !isTimeout(err) {
			return n, err
		}
		if p.step, err = p.patience.goOn(time.Now()); err == nil {
			err = p.conn.SetReadDeadline(p.step)
		}
		if err != nil {
			return 0, err
		}
	}
}

// goOn is asked when a step has passed without an answer, and returns the end of
// the next one.
func (p *patience) goOn(now time.Time) (time.Time, error) {
	if p.cause == nil {
		p.cause = p.ctx.Err()
		if p.cause == nil && !p.late.IsZero() && !now.Before(p.late) {
			p.cause = os.ErrDeadlineExceeded
		}
		if p.cause == nil {
			return now.Add(glance), nil
		}
		p.until = now.Add(grace)
	}
	if !now.Before(p.until) {
		return time.Time{}, errGivenUp
	}
	return p.until, nil
}
