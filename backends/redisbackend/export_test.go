package redisbackend

import (
	"bytes"
	"context"
	"net"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/doubt"
	"github.com/cachekit-io/cachekit-go/internal/mono"
)

// spoken is a server that says what it was going to say, whatever is asked.
type spoken struct{ *bytes.Reader }

func (spoken) Write(b []byte) (int, error)      { return len(b), nil }
func (spoken) Close() error                     { return nil }
func (spoken) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (spoken) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (spoken) SetDeadline(time.Time) error      { return nil }
func (spoken) SetReadDeadline(time.Time) error  { return nil }
func (spoken) SetWriteDeadline(time.Time) error { return nil }

// Hear has a link read what a server says, of which it has asked whether it is a
// master, then for reports, and sent so many writes: together, or one by one with
// callers who read. It returns the writes that have an outcome, and why the link
// ended.
func Hear(said []byte, writes int, callers bool, h backends.WatchHandler) (outcomes int, err error) {
	t := &tracker{b: &Backend{}, ctx: context.Background(), links: map[string]*link{}}
	t.watches = []*tracked{{handler: h}}
	l := &link{t: t, ctx: t.ctx}
	t.links[""] = l
	s := newSession(l, spoken{bytes.NewReader(said)})
	s.lent = time.Now().Add(time.Hour) // no alarm
	err = s.send(request{kind: requestHello}, []string{"hello", "3"})
	if err == nil {
		err = s.track([]string{""})
	}
	all := make([]*linkWrite, writes)
	for i := range all {
		all[i] = &linkWrite{key: "k", by: h, value: []byte("v"), ttl: time.Second, done: make(chan struct{}, 1)}
		if callers {
			s.reader = readerNobody
		}
		if !s.post(all[i]) {
			outcomes++
		} else if callers {
			_, _ = s.await(t.ctx, all[i], time.Minute)
			outcomes++
		}
	}
	s.reader = readerSession
	if err == nil {
		err = s.read()
	}
	s.end(err)
	if s.lapse != nil {
		s.lapse.close()
	}
	for _, w := range all {
		if len(w.done) == 1 {
			outcomes++
		}
	}
	return outcomes, s.cause
}

// CallerReads reports whether the caller of a write reads the link of b.
func CallerReads(b *Backend) bool {
	s := (*b.routes.Load())[""].lane.Load()
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reader == readerCaller
}

// SessionReads reports whether the link of b is not left to callers.
func SessionReads(b *Backend) bool {
	s := (*b.routes.Load())[""].lane.Load()
	if s == nil {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reader == readerSession
}

// Frames follows the chunks of a server's bytes with the bounds of a connection
// and returns how many elements are outstanding at their end.
func Frames(chunks ...[]byte) (outstanding int, err error) {
	var f frames
	for _, chunk := range chunks {
		if err := f.take(chunk); err != nil {
			return f.total, err
		}
	}
	return f.total, nil
}

// Rest makes reads travel alone for a while, keeps writes off the links, and
// counts as a failure that has had the map of slots reloaded.
func Rest(b *Backend) {
	b.reads.pause()
	b.reloaded.Store(mono.Now())
	for _, l := range *b.routes.Load() {
		l.rest.Store(mono.In(time.Second))
	}
}

// Resting reports whether any of it is still so.
func Resting(b *Backend) bool {
	b.reads.active.Add(gatherFrom)
	together := b.reads.enter()
	b.reads.leave(0)
	b.reads.active.Add(-gatherFrom)
	return !together || b.lane(context.Background(), "k") == nil || !b.reloadIsDue()
}

// Answer is what a call has made of what a server says.
type Answer struct {
	Name  string
	Value []byte
	Err   error
	Kept  bool // the connection would serve others
	Left  int  // bytes that nobody has read
}

// Answers has each kind of call read what a server says.
func Answers(said []byte, limit int) (all []Answer) {
	for name, call := range map[string]func(*Backend) ([]byte, error){
		"get": func(b *Backend) ([]byte, error) { v, _, err := b.getDirectly(context.Background(), "k"); return v, err },
		"entry": func(b *Backend) ([]byte, error) {
			e, _, err := b.entryDirectly(context.Background(), "k")
			return e.Value, err
		},
		"set": func(b *Backend) ([]byte, error) {
			_, err := b.setDirectly(context.Background(), "k", nil, time.Second)
			return nil, err
		},
		"mget": func(b *Backend) ([]byte, error) {
			results := make([]backends.GetResult, 2)
			_, err := b.mgetDirectly(context.Background(), []string{"k", "l"}, []int{0, 1}, results, alloc)
			return results[1].Entry.Value, err
		},
	} {
		b := &Backend{watch: &watch{}, doubts: doubt.New(), limit: limit, timeout: time.Minute}
		x := newWire(&conn{Conn: spoken{bytes.NewReader(said)}, watch: b.watch, bounded: true}, time.Now())
		p := &direct{b: b, opts: &redis.Options{}, all: map[*wire]struct{}{x: {}}, idle: []*wire{x}}
		b.directs = &directs{b: b, single: p}
		value, err := call(b)
		all = append(all, Answer{name, value, err, len(p.idle) > 0, x.r.Buffered()})
	}
	return all
}

// WriteOpaque writes as a call with ctx does over TLS, on c.
func WriteOpaque(ctx context.Context, c net.Conn, p []byte) (int, error) {
	now := time.Now()
	x := &conn{Conn: c, watch: &watch{}, opaque: true}
	if err := x.serve(&call{Context: ctx, deadline: now.Add(time.Minute)}, now); err != nil {
		return 0, err
	}
	return x.Write(p)
}
