package memorybackend

import (
	"strings"
	"sync"

	"github.com/cachekit-io/cachekit-go/backends"
)

// watches are those of all handles of a storage.
type watches struct {
	mu  sync.Mutex
	all map[*watch]struct{}
}

type watch struct {
	owner   *Backend
	prefix  string
	handler backends.WatchHandler
	up      bool
}

// Watch implements [backends.Watcher]. The handler hears of the writes of other
// handles before they return, in the goroutine of the writer, and not of those of
// this one. Fail and Stall take it down, Resume brings it up; it is up when Watch
// returns unless the handle is disturbed. That an entry expires is not reported.
func (b *Backend) Watch(prefix string, handler backends.WatchHandler) (stop func(), err error) {
	if b.closed.Load() {
		return nil, backends.ErrClosed
	}
	w := &watch{owner: b, prefix: prefix, handler: handler}
	s := &b.storage.watches
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[w] = struct{}{}
	w.update()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.all, w)
	}, nil
}

// update is called with the watches locked.
func (w *watch) update() {
	kind, stalled := w.owner.faults.state()
	up := kind == 0 && stalled == nil && !w.owner.closed.Load()
	switch {
	case up && !w.up:
		w.handler.Up()
	case !up && w.up:
		w.handler.Down()
	}
	w.up = up
}

// updateWatches tells the watches of this handle what has become of it.
func (b *Backend) updateWatches() {
	s := &b.storage.watches
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.all {
		if w.owner == b {
			w.update()
		}
		if b.closed.Load() && w.owner == b {
			delete(s.all, w)
		}
	}
}

// changed tells the watches of the other handles.
func (b *Backend) changed(key string) {
	s := &b.storage.watches
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.all {
		if w.up && w.owner != b && strings.HasPrefix(key, w.prefix) {
			w.handler.Changed([]string{key})
		}
	}
}

// Flush removes every entry, as an operator might (FLUSHALL), and tells the
// watches of all handles. Locks stay.
func (b *Backend) Flush() {
	b.storage.clear()
	s := &b.storage.watches
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.all {
		if w.up {
			w.handler.Flush()
		}
	}
}
