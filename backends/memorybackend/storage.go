package memorybackend

import (
	"bytes"
	"crypto/subtle"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/token"
)

const forEver = backends.NoExpiry

// storage is what the handles of one storage share. Its methods are atomic.
type storage struct {
	now      func() time.Time
	maxBytes int64

	mu      sync.Mutex
	entries map[string]entry
	locks   map[string]lock
	bytes   int64

	watches watches // with a lock of its own, never taken under mu
}

type entry struct {
	value []byte // never changed in place
	end   time.Time
}

type lock struct {
	token string
	end   time.Time
}

// get returns the value of key, which is the storage's, and the time left.
func (s *storage) get(key string) (value []byte, ttl time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live(key)
}

// live is called with the storage locked.
func (s *storage) live(key string) (value []byte, ttl time.Duration, ok bool) {
	e, ok := s.entries[key]
	if !ok {
		return nil, 0, false
	}
	if ttl = left(s.now(), e.end); ttl <= 0 {
		s.drop(key)
		return nil, 0, false
	}
	return e.value, ttl, true
}

func (s *storage) drop(key string) {
	s.bytes -= size(key, s.entries[key].value)
	delete(s.entries, key)
}

func size(key string, value []byte) int64 { return int64(len(key) + len(value)) }

// set stores a copy of value, or reports that the storage is full.
func (s *storage) set(key string, value []byte, ttl time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.put(key, bytes.Clone(value), deadline(s.now(), ttl))
}

// put is called with the storage locked.
func (s *storage) put(key string, value []byte, end time.Time) bool {
	if s.grown(key, value) > s.maxBytes {
		if s.sweep(); s.grown(key, value) > s.maxBytes {
			return false
		}
	}
	s.bytes = s.grown(key, value)
	s.entries[key] = entry{value, end}
	return true
}

// grown is what the storage takes with value under key.
func (s *storage) grown(key string, value []byte) int64 {
	if old, ok := s.entries[key]; ok {
		return s.bytes + int64(len(value)-len(old.value))
	}
	return s.bytes + size(key, value)
}

// sweep removes what has expired.
func (s *storage) sweep() {
	now := s.now()
	for key, e := range s.entries {
		if left(now, e.end) <= 0 {
			s.drop(key)
		}
	}
}

func (s *storage) delete(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _, ok := s.live(key)
	if ok {
		s.drop(key)
	}
	return ok
}

func (s *storage) touch(key string, ttl time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	value, _, ok := s.live(key)
	if ok {
		s.entries[key] = entry{value, deadline(s.now(), ttl)}
	}
	return ok
}

// swap keeps the expiry if ttl is 0.
func (s *storage) swap(key string, old, new []byte, ttl time.Duration) (swapped, fits bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	value, _, ok := s.live(key)
	if !ok || !bytes.Equal(value, old) {
		return false, true
	}
	end := s.entries[key].end
	if ttl != 0 {
		end = deadline(s.now(), ttl)
	}
	fits = s.put(key, bytes.Clone(new), end)
	return fits, fits
}

// lock returns a new token, or "" if another one holds the lock.
func (s *storage) lock(key string, lease time.Duration) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if l, ok := s.locks[key]; ok && left(now, l.end) > 0 {
		return ""
	}
	proof := token.New()
	s.locks[key] = lock{proof, deadline(now, lease)}
	return proof
}

func (s *storage) unlock(key, token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.locks[key]
	if !ok || subtle.ConstantTimeCompare([]byte(l.token), []byte(token)) == 0 || left(s.now(), l.end) <= 0 {
		return false
	}
	delete(s.locks, key)
	return true
}

// keys returns up to limit keys with the prefix that come after a key, in
// order, and whether there are more.
func (s *storage) keys(prefix, after string, limit int) (page []string, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	all := slices.DeleteFunc(slices.Collect(maps.Keys(s.entries)), func(key string) bool {
		return !strings.HasPrefix(key, prefix) || key <= after
	})
	slices.Sort(all)
	if len(all) <= limit {
		return all, false
	}
	return all[:limit], true
}

func (s *storage) usage() (entries int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	return len(s.entries), s.bytes
}

func (s *storage) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.entries)
	s.bytes = 0
}
