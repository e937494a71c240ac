package redisbackend

import (
	"context"
	"errors"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

const (
	// postBytes and postWrites bound what is under way on a link. What finds no
	// room takes a connection of the pool.
	postBytes  = 1 << 20
	postWrites = 1024
	// postValue is the largest value that travels over a link: a larger one would
	// hold up the reports.
	postValue = 64 << 10
	// sendBuffer is asked of the kernel. With no more than directBuffered under
	// way a write into it does not block, so the caller makes it; directBytes is
	// what the smallest default of Linux takes (tcp_wmem, 16 KiB, half of it
	// overhead).
	sendBuffer     = 256 << 10
	directBuffered = 64 << 10
	directBytes    = 8 << 10
	// grace is how long a write that is given up is waited for: a fraction of the
	// 100 ms that package backends allows. Then its connection is reset, which
	// takes all copies of this process with it.
	grace = 50 * time.Millisecond
	// A session ends by itself when it is not answered for so long.
	endsAfter = answerWithin + askEvery
	// postRest is how long writes keep off a link after that.
	postRest = 5 * time.Second
)

// errLost is the outcome of a write whose connection ended before its answer.
var errLost = errors.New("the connection was lost before the answer")

// lost is what became of a write when a session ended for cause.
func lost(cause error) error {
	if cause == errLate {
		return os.ErrDeadlineExceeded
	}
	return errLost
}

// linkWrite is a SET or UNLINK that travels over a link. Its key and value are
// the caller's, who waits for done or withdraws it.
type linkWrite struct {
	key   string
	value []byte
	ttl   time.Duration // 0 is UNLINK
	by    backends.WatchHandler

	leads bool  // its caller reads
	n     int64 // the answer
	err   error
	done  chan struct{} // of one element
}

var linkWrites = sync.Pool{New: func() any { return &linkWrite{done: make(chan struct{}, 1)} }}

// free makes w available to others. Nothing else may hold it.
func (w *linkWrite) free() {
	*w = linkWrite{done: w.done}
	linkWrites.Put(w)
}

// finish hands over the outcome; w belongs to the caller from then on.
func (w *linkWrite) finish(n int64, err error) {
	w.n, w.err = n, err
	w.done <- struct{}{}
}

// outcome is what became of w, which was given up for cause if that is not nil
// and it was not answered after all.
func (w *linkWrite) outcome(cause error) error {
	if cause != nil && (errors.Is(w.err, errLost) || errors.Is(w.err, os.ErrDeadlineExceeded)) {
		return cause
	}
	return w.err
}

func (w *linkWrite) size() int { return len(w.key) + len(w.value) + 64 }

// appendTo appends the command in RESP.
func (w *linkWrite) appendTo(b []byte) []byte {
	switch w.ttl {
	case 0:
		return bulk(append(b, "*2\r\n$6\r\nunlink\r\n"...), w.key)
	case backends.NoExpiry:
		return bulk(bulk(append(b, "*3\r\n$3\r\nset\r\n"...), w.key), w.value)
	}
	b = bulk(bulk(append(b, "*5\r\n$3\r\nset\r\n"...), w.key), w.value)
	var ms [20]byte
	return bulk(append(b, "$2\r\npx\r\n"...), strconv.AppendInt(ms[:0], milliseconds(w.ttl), 10))
}

func bulk[T string | []byte](b []byte, v T) []byte {
	b = strconv.AppendInt(append(b, '$'), int64(len(v)), 10)
	return append(append(append(b, "\r\n"...), v...), "\r\n"...)
}

// post queues w and reports whether there was room. It sends w, and with it what
// others have queued, if nobody else is sending and that does not block.
func (s *session) post(w *linkWrite) bool {
	size := w.size()
	s.mu.Lock()
	if s.over || s.bytes+size > postBytes || s.waiting.len()+len(s.queue) >= postWrites {
		s.mu.Unlock()
		return false
	}
	if s.alone++; s.bytes > 0 {
		s.alone = 0
	}
	s.queue = append(s.queue, request{kind: requestWrite, write: w})
	s.bytes += size
	if s.busy {
		s.mu.Unlock()
		return true // whoever is sending sees to it
	}
	if s.bytes > s.direct {
		s.mu.Unlock()
		s.wake()
		return true
	}
	sent, err := s.sendQueue()
	if err != nil {
		s.mu.Unlock()
		s.end(err)
		return true
	}
	if s.reader == readerNobody {
		s.reader, w.leads = readerCaller, true
		s.prolong(sent)
	}
	more := len(s.queue) > 0
	s.mu.Unlock()
	if more {
		s.wake()
	}
	return true
}

func (s *session) wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// flush sends until nothing is queued.
func (s *session) flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) > 0 && !s.busy {
		if _, err := s.sendQueue(); err != nil {
			return err
		}
	}
	s.recall()
	return nil
}

// sendQueue sends what is queued, with the session locked, which it is not
// meanwhile, and nobody busy, and returns when it began to. From then on nothing of a
// caller's is needed.
func (s *session) sendQueue() (now time.Time, err error) {
	now = time.Now()
	b := s.buf[:0]
	for i, r := range s.queue {
		if r.write != nil {
			b = r.write.appendTo(b)
		} else {
			b = append(b, r.raw...)
		}
		r.at, r.raw = now, nil
		s.waiting.push(r)
		s.queue[i] = request{}
	}
	s.queue = s.queue[:0]
	s.busy = true
	s.mu.Unlock()
	_, err = s.conn.Write(b)
	s.mu.Lock()
	s.busy = false
	if s.buf = b; cap(b) > 4*directBuffered {
		s.buf = nil
	}
	return now, err
}

// withdraw takes back w if it has not been sent.
func (s *session) withdraw(w *linkWrite) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, r := range s.queue {
		if r.write == w {
			s.queue = append(s.queue[:i], s.queue[i+1:]...)
			s.bytes -= w.size()
			return true
		}
	}
	return false
}

// answered takes the oldest request off the list.
func (s *session) answered() (request, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.waiting.pop()
	if r.write != nil {
		s.bytes -= r.write.size()
	}
	if r.kind == requestHello {
		s.asked = false
	}
	return r, ok
}

// await returns once w has been answered, withdrawn, or the session has ended.
// sent is false if w was certainly not executed. A write that was sent and whose
// context ends takes the connection with it, unless the answer comes within
// grace: bytes on their way could be executed after a newer write by somebody
// else.
func (s *session) await(ctx context.Context, w *linkWrite, limit time.Duration) (sent bool, err error) {
	if w.leads {
		return true, s.readFor(ctx, w, limit)
	}
	var late <-chan time.Time
	if limit < endsAfter {
		t := time.NewTimer(limit)
		defer t.Stop()
		late = t.C
	}
	cause := os.ErrDeadlineExceeded
	select {
	case <-w.done:
		return true, w.err
	case <-late:
	case <-ctx.Done():
		cause = ctx.Err()
	}
	if s.withdraw(w) {
		return false, cause
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-w.done:
		return true, w.err
	case <-t.C:
	}
	s.end(errGivenUp)
	<-w.done
	return true, w.outcome(cause)
}

// fifo is a queue of requests.
type fifo struct {
	items []request
	head  int
}

func (q *fifo) len() int { return len(q.items) - q.head }

func (q *fifo) all() []request { return q.items[q.head:] }

func (q *fifo) first() *request {
	if q.len() == 0 {
		return nil
	}
	return &q.items[q.head]
}

func (q *fifo) push(r request) {
	if q.head > 0 && len(q.items) == cap(q.items) {
		n := copy(q.items, q.all())
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, r)
}

func (q *fifo) pop() (request, bool) {
	if q.len() == 0 {
		return request{}, false
	}
	r := q.items[q.head]
	q.items[q.head] = request{}
	if q.head++; q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	return r, true
}
