package iotest

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"math"
	"net/http"
	"strings"
	"time"
)

// lock is the lease of a key. Its id is a capability: who has it can release it.
type lock struct {
	id    string
	until time.Time
}

func (l lock) held(now time.Time) bool { return now.Before(l.until) }

// lock grants the lock of a key, or says in the body of a 200 that another client
// holds it (spec/saas-api.md, "Lock Endpoints").
func (s *Server) lock(t *tenant, key string, body []byte) *answer {
	timeout, ok := number(body, "timeout_ms")
	if !ok || timeout < 1 {
		return failure(http.StatusBadRequest, "timeout_ms is not a positive whole number")
	}
	now := s.now()
	if t.locks[key].held(now) {
		return result(http.StatusOK, map[string]any{"lock_id": nil})
	}
	lease := time.Duration(min(timeout, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
	l := lock{id: uuid(), until: now.Add(lease)}
	t.locks[key] = l
	return result(http.StatusOK, map[string]any{"lock_id": l.id})
}

// unlock releases the lock that the id holds, and leaves any other alone. The
// answer does not tell which it was.
func (s *Server) unlock(t *tenant, key string, r *http.Request) *answer {
	id := strings.TrimSpace(r.Header.Get("X-CacheKit-Lock-Id"))
	if id == "" {
		id = strings.TrimSpace(r.URL.Query().Get("lock_id")) // deprecated, but the server must take it
	}
	if id == "" {
		return failure(http.StatusBadRequest, "X-CacheKit-Lock-Id is missing")
	}
	if l := t.locks[key]; subtle.ConstantTimeCompare([]byte(l.id), []byte(id)) == 1 {
		delete(t.locks, key)
	}
	return success()
}

// uuid returns a random UUID (RFC 9562, version 4).
func uuid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // does not fail
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	text := hex.EncodeToString(b[:])
	return strings.Join([]string{text[:8], text[8:12], text[12:16], text[16:20], text[20:]}, "-")
}
