package iotest

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxTTL is 30 days in seconds, the bound of a TTL and of TTL and stale window
// together (spec/saas-api.md, "TTL Validation Rules").
const maxTTL = 30 * 24 * 60 * 60

// entry is a stored value. Times are whole seconds of the server's clock, 0 for
// an entry without expiry.
type entry struct {
	value      []byte // never modified
	freshUntil int64
	evictAt    int64
}

func newEntry(value []byte, now time.Time, ttl, stale int64) *entry {
	e := &entry{value: value}
	if ttl > 0 {
		e.freshUntil = now.Unix() + ttl
		e.evictAt = e.freshUntil + stale
	}
	return e
}

func (e *entry) expires() bool { return e.freshUntil != 0 }

func (e *entry) gone(now time.Time) bool { return e.expires() && now.Unix() >= e.evictAt }

func (e *entry) stale(now time.Time) bool { return e.expires() && now.Unix() >= e.freshUntil }

func (e *entry) freshness(now time.Time) string {
	if e.stale(now) {
		return "stale"
	}
	return "fresh"
}

// freshFor is the remaining freshness in whole seconds, rounded down.
func (e *entry) freshFor(now time.Time) int64 {
	return max(0, int64(time.Unix(e.freshUntil, 0).Sub(now)/time.Second))
}

// find returns the unexpired entry of a key, or nil. The caller holds mu.
func (s *Server) find(t *tenant, key string) *entry {
	e := t.entries[key]
	if e != nil && e.gone(s.now()) {
		s.remove(t, key)
		return nil
	}
	return e
}

// remove drops an entry, if there is one. The caller holds mu.
func (s *Server) remove(t *tenant, key string) {
	if e := t.entries[key]; e != nil {
		s.bytes -= int64(len(e.value))
		delete(t.entries, key)
	}
}

// store replaces an entry and evicts others until all fit. The caller holds mu.
func (s *Server) store(t *tenant, key string, e *entry) {
	s.remove(t, key)
	for _, other := range s.tenants {
		for k := range other.entries {
			if s.bytes+int64(len(e.value)) <= s.opts.MaxBytes {
				break
			}
			s.remove(other, k)
		}
	}
	t.entries[key] = e
	s.bytes += int64(len(e.value))
}

// timing reads the TTL and the stale window of a PUT; 0 is none.
func timing(h http.Header) (ttl, stale int64, refusal *answer) {
	bad := func(text string) (int64, int64, *answer) { return 0, 0, failure(http.StatusBadRequest, text) }
	name := "X-CacheKit-TTL"
	if len(h.Values(name)) == 0 {
		name = "X-TTL" // deprecated, but the server must take it
	}
	given := len(h.Values(name)) > 0
	if given {
		n, ok := seconds(h.Values(name), maxTTL)
		if !ok || n == 0 {
			return bad("the TTL is not a whole number from 1 to 2592000")
		}
		ttl = n
	}
	window := h.Values("X-CacheKit-Stale-TTL")
	if len(window) == 0 {
		return ttl, 0, nil
	}
	stale, ok := seconds(window, maxTTL-1)
	switch {
	case !ok:
		return bad("the stale TTL is not a whole number from 0 to 2591999")
	case !given:
		return bad("a stale TTL needs a TTL")
	case ttl+stale > maxTTL:
		return bad("TTL and stale TTL together exceed 2592000")
	}
	return ttl, stale, nil
}

// seconds parses a header of decimal digits, sent once.
func seconds(values []string, limit int64) (int64, bool) {
	text := strings.Join(values, ", ")
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && n <= limit
}
