package redisbackend

import (
	"bufio"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/mono"
)

// session is a connection in use. Questions about the server and writes of this
// backend share it; answers come in the order of the requests (Redis, "RESP
// protocol spec").
type session struct {
	link *link
	conn net.Conn
	parser
	keys  []string
	ended chan struct{} // closed when the session has
	cause error         // why it has
	woken chan struct{} // something waits for write

	// the reader's
	patience patience
	step     time.Time // deadline of the reads, zero for none
	served   bool      // the last answer was one to a write

	mu        sync.Mutex
	queue     []request // not sent, in order
	waiting   fifo      // sent and not answered
	bytes     int       // of the writes in both
	busy      bool      // somebody is sending
	over      bool      // nothing is taken any more
	asked     bool      // the answer to HELLO is due
	requested []string  // prefixes
	buf       []byte    // what is being sent, of whoever is busy
	direct    int       // how much may be under way for a caller to send itself
	reader    reader
	alone     int           // writes in a row that found nothing under way
	lent      time.Time     // when lapse was last put off
	lapse     *alarm        // the end of a lull; nil before the first
	handed    chan struct{} // it is the session that reads again
}

// request is what a reply answers: a write, an order to report (with prefixes),
// or the question whether the server is well.
type request struct {
	at       time.Time
	raw      []byte
	prefixes []string
	write    *linkWrite
	kind     requestKind
}

type requestKind byte

const (
	requestWrite requestKind = iota + 1
	requestHello
	requestTrack
	requestOther // answered with OK
)

func newSession(l *link, nc net.Conn) *session {
	s := &session{link: l, conn: nc, direct: directBytes,
		ended: make(chan struct{}), woken: make(chan struct{}, 1), handed: make(chan struct{}, 1)}
	s.r = bufio.NewReaderSize(patient{s}, 16<<10)
	if c, ok := socket(nc).(interface{ SetWriteBuffer(bytes int) error }); ok && c.SetWriteBuffer(sendBuffer) == nil {
		s.direct = directBuffered
	}
	return s
}

// socket is what is below TLS.
func socket(c net.Conn) net.Conn {
	for {
		switch w := c.(type) {
		case *conn:
			c = w.Conn
		case plainConn:
			c = w.conn.Conn
		case interface{ NetConn() net.Conn }:
			c = w.NetConn()
		default:
			return c
		}
	}
}

// end closes the connection and fails what is under way. After it no byte of a
// write leaves this host: the connection is reset, so that the kernel does not go
// on sending what it has buffered.
func (s *session) end(cause error) {
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		<-s.ended
		return
	}
	s.over, s.cause = true, cause
	requests := append(s.waiting.all(), s.queue...)
	s.waiting, s.queue = fifo{}, nil
	s.mu.Unlock()
	if cause == errGivenUp {
		s.link.rest.Store(mono.In(postRest))
	}
	inner := socket(s.conn)
	if c, ok := inner.(interface{ SetLinger(sec int) error }); ok {
		_ = c.SetLinger(0)
	}
	_ = inner.Close()
	_ = s.conn.Close()
	close(s.ended)
	for _, r := range requests {
		if r.write != nil {
			r.write.finish(0, lost(cause))
		}
	}
}

// open makes the connection report what is wanted.
func (s *session) open() error {
	if err := s.conn.SetDeadline(time.Now().Add(s.link.t.b.timeout)); err != nil {
		return err
	}
	args, err := hello(s.link.ctx, s.link.opts)
	if err != nil {
		return err
	}
	steps := []func() error{
		func() error { return s.send(request{kind: requestHello}, args) },
		func() error { return s.track(s.link.t.wanted()) },
	}
	if db := s.link.opts.DB; db != 0 {
		steps = slices.Insert(steps, 1, func() error {
			return s.send(request{kind: requestOther}, []string{"select", strconv.Itoa(db)})
		})
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
		if err := s.next(); err != nil {
			return err
		}
	}
	if err := s.conn.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	return s.conn.SetWriteDeadline(time.Now().Add(2 * answerWithin))
}

// write asks for signs of life and for what is newly wanted, and sends what
// callers do not, until the session ends.
func (s *session) write() {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		var err error
		select {
		case <-s.ended:
			return
		case now := <-tick.C:
			err = s.ask(now)
		case <-s.link.woken:
			err = s.extend()
		case <-s.woken:
			err = s.flush()
		}
		if err != nil {
			s.end(err)
			return
		}
	}
}

// ask sends HELLO, whose answer tells the server's role too, unless the last one
// is still due.
func (s *session) ask(now time.Time) error {
	s.mu.Lock()
	first := s.waiting.first()
	late, asked := first != nil && now.Sub(first.at) > answerWithin-askEvery/2, s.asked
	s.asked = true
	s.mu.Unlock()
	if late {
		return errLate
	}
	// A deadline for each write would cost more than the write.
	if err := s.conn.SetWriteDeadline(now.Add(2 * answerWithin)); err != nil || asked {
		return err
	}
	return s.send(request{kind: requestHello}, []string{"hello", "3"})
}

// extend has the server report prefixes that it does not yet. A session whose
// prefixes overlap new ones has to be replaced.
func (s *session) extend() error {
	s.mu.Lock()
	had := s.requested
	s.mu.Unlock()
	var missing []string
	for _, p := range s.link.t.wanted() {
		if slices.ContainsFunc(had, func(q string) bool { return q != p && strings.HasPrefix(q, p) }) {
			return errOverlap
		}
		if !slices.ContainsFunc(had, func(q string) bool { return strings.HasPrefix(p, q) }) {
			missing = append(missing, p)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return s.track(missing)
}

// track has the server report the keys under prefixes, but those that this
// connection was the last to change (CLIENT TRACKING, "NOLOOP").
func (s *session) track(prefixes []string) error {
	args := []string{"client", "tracking", "on", "bcast", "noloop"}
	for _, p := range prefixes {
		args = append(args, "prefix", p)
	}
	return s.send(request{kind: requestTrack, prefixes: prefixes}, args)
}

// send sends a request that is no write, and what waits before it.
func (s *session) send(r request, args []string) error {
	r.raw = command(args)
	s.mu.Lock()
	s.queue = append(s.queue, r)
	s.requested = append(s.requested, r.prefixes...)
	s.mu.Unlock()
	return s.flush()
}
