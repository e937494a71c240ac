package redisbackend

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// askEvery and answerWithin see to it that a dead connection is noticed
	// within 2 s.
	askEvery     = 500 * time.Millisecond
	answerWithin = 1500 * time.Millisecond
	// A broken link is made again after these delays, give or take half.
	shortestDelay = 50 * time.Millisecond
	longestDelay  = 2 * time.Second
	// steady is how long a link has stood whose loss is no sign of trouble.
	steady = 5 * time.Second
)

var (
	errNoMaster = errors.New("the server is no master")
	errLate     = errors.New("the server does not answer in time")
	errOverlap  = errors.New("the prefixes that are watched have changed")
	errMoved    = errors.New("another server is the master now")
	errGivenUp  = errors.New("a write was given up that the server had not answered")
)

// link is the connection to one server, made again whenever it breaks.
type link struct {
	t      *tracker
	opts   *redis.Options
	ctx    context.Context
	cancel context.CancelFunc
	woken  chan struct{}

	lane atomic.Pointer[session] // what takes writes, if anything does
	rest atomic.Int64            // until when nothing does, by mono

	// with the tracker locked
	live    bool     // it stands
	covered []string // what the server has agreed to report
	why     string   // why it does not stand
}

// newLink starts a link, with the tracker locked.
func newLink(t *tracker, client *redis.Client) *link {
	l := &link{t: t, opts: client.Options(), woken: make(chan struct{}, 1), why: "not connected yet"}
	l.ctx, l.cancel = context.WithCancel(t.ctx)
	t.wg.Go(l.run)
	return l
}

// wake has the link look at what is wanted.
func (l *link) wake() {
	select {
	case l.woken <- struct{}{}:
	default:
	}
}

// covers and gone are called with the tracker locked.
func (l *link) covers(prefix string) bool {
	return l.live && slices.ContainsFunc(l.covered, func(p string) bool { return strings.HasPrefix(prefix, p) })
}

func (l *link) gone() bool { return l.ctx.Err() != nil }

func (l *link) run() {
	defer l.cancel()
	delay := shortestDelay
	for !l.gone() {
		start := time.Now()
		err := l.session()
		l.set(func() { l.live, l.covered, l.why = false, nil, reason(err) })
		if time.Since(start) > steady {
			delay = shortestDelay
		}
		select {
		case <-time.After(delay/2 + rand.N(delay)):
		case <-l.ctx.Done():
		}
		delay = min(2*delay, longestDelay)
	}
}

// set changes the state of the link and tells the watches.
func (l *link) set(change func()) {
	l.t.mu.Lock()
	defer l.t.mu.Unlock()
	change()
	l.t.settle()
}

// reason is why a session ended, without anything that the server said but its
// code.
func reason(err error) string {
	switch err {
	case errNoMaster, errLate, errOverlap, errMoved, errGivenUp:
		return err.Error()
	}
	_, cause := classify(err)
	return cause.Error()
}

// session is one connection from its beginning to its end.
func (l *link) session() error {
	nc, err := dial(l.ctx, l.opts)
	if err != nil {
		return err
	}
	s := newSession(l, nc)
	stop := context.AfterFunc(l.ctx, func() { s.end(l.ctx.Err()) })
	defer stop()
	var writer sync.WaitGroup
	err = s.open()
	if err == nil {
		writer.Go(s.write)
		err = s.read()
	}
	l.lane.CompareAndSwap(s, nil)
	s.end(err)
	writer.Wait()
	if s.lapse != nil {
		s.lapse.close()
	}
	return s.cause
}
