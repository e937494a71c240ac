package iotest

import (
	"bytes"
	"io"
	"net/http"
	"time"
)

// Kind is a way to fail. The zero value is none.
type Kind uint8

const (
	// Stall answers nothing until Heal, which resets the request, or until the
	// client gives up.
	Stall Kind = iota + 1
	// Delay answers after Fault.Delay.
	Delay
	// ResetStream ends the request without an answer: RST_STREAM on HTTP/2, the
	// end of the connection on HTTP/1.1.
	ResetStream
	// ResetConn ends the connection with an RST, and with it all its requests.
	ResetConn
	// GoAway sends GOAWAY with the word that no request of the connection was
	// looked at, so that a client can send them again. On HTTP/1.1 it is
	// ResetStream.
	GoAway
	// GoAwayAfter answers and then has the client leave the connection: GOAWAY,
	// or "Connection: close".
	GoAwayAfter
	// Half sends the headers and half of the right answer's body, then resets
	// the request.
	Half
	// HalfStall does so and then stalls.
	HalfStall
	// Garbage sends bytes that are neither a frame of HTTP/2 nor a response of
	// HTTP/1.1, in place of either.
	Garbage
	// Answer sends what the fault says instead of the right answer.
	Answer
)

// Fault makes requests fail. See [Server.Inject].
type Fault struct {
	// Kind is the way to fail.
	Kind Kind
	// Times is how many requests fail; 0 is all of them until Heal.
	Times int
	// Match selects the requests; nil is all. It must not call the server.
	Match func(Request) bool
	// Executed carries the request out before it fails, so that only its answer
	// is lost. Delay, GoAwayAfter, Half and HalfStall always do.
	Executed bool
	// Delay is how long Delay waits.
	Delay time.Duration
	// Status, RetryAfter, Header and Body are what Answer sends: RetryAfter as
	// Retry-After unless it is "". Status is 200 by default.
	Status     int
	RetryAfter string
	Header     http.Header
	Body       []byte
	// Size makes Answer send so many zero bytes, without saying how many, if
	// Body is nil.
	Size int64
}

// Inject makes requests fail from now on. Of several faults that match a request
// the one that was injected first counts. Faults come before authentication.
func (s *Server) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// Heal removes all faults, resets what stalls, and ends a partition. A connection
// that was lost in a black hole stays lost.
func (s *Server) Heal() {
	s.listener.lighten()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
	close(s.healed)
	s.healed = make(chan struct{})
}

// BlackHole makes the connections that are open now drop every packet in both
// directions, for ever and without a word, as a router does that lost its state.
// New connections work.
func (s *Server) BlackHole() { s.listener.darken(false) }

// Partition does the same to new connections until Heal: their TCP handshake
// succeeds and nothing else does.
func (s *Server) Partition() { s.listener.darken(true) }

// fault returns the fault of a request, or nil, and when it heals.
func (s *Server) fault(r Request) (*Fault, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.faults {
		if f.Match != nil && !f.Match(r) {
			continue
		}
		switch f.Times {
		case 0:
		case 1:
			s.faults = append(s.faults[:i:i], s.faults[i+1:]...)
		default:
			f.Times--
		}
		return f, s.healed
	}
	return nil, nil
}

// garbage announces an HTTP/2 frame of 16 MiB, which nobody takes, and ends a line.
var garbage = append(bytes.Repeat([]byte{0xff}, 60), "\r\n\r\n"...)

// fail answers a request as f says.
func (s *Server) fail(f *Fault, healed <-chan struct{}, w http.ResponseWriter, r *http.Request) {
	var right *answer
	switch f.Kind {
	case Delay, GoAwayAfter, Half, HalfStall:
		right = s.answer(r)
	default:
		if f.Executed {
			s.answer(r)
		}
	}
	switch f.Kind {
	case Stall:
		s.wait(healed, r)
		panic(http.ErrAbortHandler)
	case Delay:
		s.delay(f.Delay, r)
		right.send(w, r)
	case GoAwayAfter:
		w.Header().Set("Connection", "close")
		right.send(w, r)
	case Half, HalfStall:
		right.head(w)
		_, _ = w.Write(right.body[:len(right.body)/2])
		_ = http.NewResponseController(w).Flush()
		if f.Kind == HalfStall {
			s.wait(healed, r)
		}
		panic(http.ErrAbortHandler)
	case Answer:
		f.send(w, r)
	case ResetConn:
		connOf(r).link.abort()
		panic(http.ErrAbortHandler)
	case Garbage:
		connOf(r).inject(garbage)
		s.wait(healed, r)
		panic(http.ErrAbortHandler)
	case GoAway:
		if c := connOf(r); c.speaksHTTP2() {
			c.inject(goAway())
		}
		panic(http.ErrAbortHandler)
	default: // ResetStream
		panic(http.ErrAbortHandler)
	}
}

func connOf(r *http.Request) *conn { return r.Context().Value(connKey{}).(*conn) }

// wait returns when the fault heals, the client gives up or the server closes.
func (s *Server) wait(healed <-chan struct{}, r *http.Request) {
	select {
	case <-healed:
	case <-s.done:
	case <-r.Context().Done():
	}
}

func (s *Server) delay(d time.Duration, r *http.Request) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.done:
	case <-r.Context().Done():
	}
}

// send sends the answer of the fault.
func (f *Fault) send(w http.ResponseWriter, r *http.Request) {
	a := &answer{status: f.Status, header: f.Header.Clone(), body: f.Body}
	if a.status == 0 {
		a.status = http.StatusOK
	}
	if a.header == nil {
		a.header = http.Header{}
	}
	if f.RetryAfter != "" {
		a.with("Retry-After", f.RetryAfter)
	}
	a.send(w, r)
	if f.Body == nil && r.Method != http.MethodHead {
		_, _ = io.CopyN(w, zeros{}, f.Size)
	}
}

// zeros reads as zero bytes without an end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
