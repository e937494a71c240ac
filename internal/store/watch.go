package store

import "github.com/cachekit-io/cachekit-go/backends"

// CanWatch reports whether the storage can report changes.
func (s *Store) CanWatch() bool { return s.caps.Watcher != nil }

// Watch has the storage report changes, as backends.Watcher says. The storage
// must be able to.
func (s *Store) Watch(prefix string, handler backends.WatchHandler) (stop func(), err error) {
	return s.caps.Watcher.Watch(prefix, handler)
}
