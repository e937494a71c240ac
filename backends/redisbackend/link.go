package redisbackend

import (
	"bufio"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
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
)

// link is the connection to one server, made again whenever it breaks.
type link struct {
	t      *tracker
	opts   *redis.Options
	ctx    context.Context
	cancel context.CancelFunc
	woken  chan struct{}

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
	if err == errNoMaster || err == errLate || err == errOverlap {
		return err.Error()
	}
	_, cause := classify(err)
	return cause.Error()
}

// session is one connection from its beginning to its end.
func (l *link) session() error {
	nc, err := l.dial()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(l.ctx)
	closed := make(chan struct{})
	context.AfterFunc(ctx, func() { _ = nc.Close(); close(closed) })
	s := &session{link: l, conn: nc, r: bufio.NewReaderSize(nc, 16<<10), end: cancel}
	var writer sync.WaitGroup
	err = s.open()
	if err == nil {
		writer.Go(func() { s.write(ctx) })
		err = s.read()
	}
	cancel(err)
	<-closed
	writer.Wait()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return err
}

// dial does not wait for a dialler that ignores its context.
func (l *link) dial() (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	limit := l.opts.DialTimeout
	if limit <= 0 {
		limit = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(l.ctx, limit)
	done := make(chan result, 1)
	go func() {
		defer cancel()
		c, err := l.opts.Dialer(ctx, l.opts.Network, l.opts.Addr)
		done <- result{c, err}
	}()
	select {
	case r := <-done:
		return r.conn, r.err
	case <-ctx.Done():
	}
	go func() {
		if r := <-done; r.err == nil {
			_ = r.conn.Close()
		}
	}()
	return nil, ctx.Err()
}

// hello returns the command that switches to RESP3 and authenticates.
func (l *link) hello() ([]string, error) {
	user, password := l.opts.Username, l.opts.Password
	if f := l.opts.CredentialsProviderContext; f != nil {
		var err error
		if user, password, err = f(l.ctx); err != nil {
			return nil, err
		}
	} else if f := l.opts.CredentialsProvider; f != nil {
		user, password = f()
	}
	args := []string{"hello", "3"}
	if password != "" {
		if user == "" {
			user = "default"
		}
		args = append(args, "auth", user, password)
	}
	return args, nil
}

// session is a connection in use.
type session struct {
	link *link
	conn net.Conn
	r    *bufio.Reader
	end  context.CancelCauseFunc
	keys []string

	mu        sync.Mutex
	waiting   []request // sent and not answered, in order
	requested []string  // prefixes
}

// request is what a reply answers: the question whether the server is well, or
// (with prefixes) an order to report.
type request struct {
	at       time.Time
	prefixes []string
}

// open makes the connection report what is wanted.
func (s *session) open() error {
	if err := s.conn.SetDeadline(time.Now().Add(s.link.t.b.timeout)); err != nil {
		return err
	}
	args, err := s.link.hello()
	if err != nil {
		return err
	}
	if err := s.send(request{}, args); err != nil {
		return err
	}
	if err := s.next(); err != nil {
		return err
	}
	if err := s.track(s.link.t.wanted()); err != nil {
		return err
	}
	if err := s.next(); err != nil {
		return err
	}
	return s.conn.SetDeadline(time.Time{})
}

// write asks for signs of life and for what is newly wanted until ctx ends.
func (s *session) write(ctx context.Context) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			err = s.ask(now)
		case <-s.link.woken:
			err = s.extend()
		}
		if err != nil {
			s.end(err)
			return
		}
	}
}

// ask sends HELLO, whose answer tells the server's role too, unless the last
// answer is still due.
func (s *session) ask(now time.Time) error {
	s.mu.Lock()
	due := len(s.waiting) > 0
	late := due && now.Sub(s.waiting[0].at) > answerWithin-askEvery/2
	s.mu.Unlock()
	if late {
		return errLate
	}
	if due {
		return nil
	}
	return s.send(request{}, []string{"hello", "3"})
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

func (s *session) track(prefixes []string) error {
	args := []string{"client", "tracking", "on", "bcast"}
	for _, p := range prefixes {
		args = append(args, "prefix", p)
	}
	return s.send(request{prefixes: prefixes}, args)
}

func (s *session) send(r request, args []string) error {
	r.at = time.Now()
	s.mu.Lock()
	s.waiting = append(s.waiting, r)
	s.requested = append(s.requested, r.prefixes...)
	s.mu.Unlock()
	if err := s.conn.SetWriteDeadline(r.at.Add(answerWithin)); err != nil {
		return err
	}
	_, err := s.conn.Write(command(args))
	return err
}

// answered takes the oldest request off the list.
func (s *session) answered() (request, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		return request{}, false
	}
	r := s.waiting[0]
	s.waiting = s.waiting[1:]
	return r, true
}
