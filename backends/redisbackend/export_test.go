package redisbackend

import (
	"bytes"
	"context"
	"net"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
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
	t := &tracker{b: &Backend{}, ctx: context.Background(), watches: map[*tracked]struct{}{}, links: map[string]*link{}}
	t.watches[&tracked{handler: h}] = struct{}{}
	l := &link{t: t, ctx: t.ctx}
	t.links[""] = l
	s := newSession(l, spoken{bytes.NewReader(said)})
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
