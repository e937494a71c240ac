package iotest

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// maxJSONBytes bounds the bodies of locks and TTLs.
const maxJSONBytes = 4 << 10

var errTooLarge = errors.New("iotest: body is too large")

// serveHTTP answers one request, or lets it fail as a fault says.
func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	s.running.Add(1)
	s.mu.Unlock()
	defer s.running.Done()

	endpoint, segment := split(r.RequestURI)
	key, _ := decodeKey(segment)
	seen := Request{Method: r.Method, Proto: r.Proto, Endpoint: endpoint, Key: key.text, Header: r.Header.Clone()}
	seen.Header.Del("Authorization")
	s.record(seen)
	if f, healed := s.fault(seen); f != nil {
		s.fail(f, healed, w, r)
		return
	}
	s.answer(r).send(w, r)
}

// answer carries a request out. Preflights come before authentication,
// authentication before everything else (spec/saas-api.md, "Authentication").
func (s *Server) answer(r *http.Request) *answer {
	if r.Method == http.MethodOptions {
		return &answer{status: http.StatusNoContent}
	}
	s.mu.Lock()
	a, known := s.authenticate(r.Header)
	if !known {
		s.mu.Unlock()
		return failure(http.StatusUnauthorized, "unknown API key")
	}
	refusal := s.admit(a, r.Header)
	s.mu.Unlock()
	if refusal != nil {
		return refusal
	}
	return s.route(a, r)
}

func (s *Server) route(a account, r *http.Request) *answer {
	endpoint, segment := split(r.RequestURI)
	if endpoint == "" {
		return failure(http.StatusNotFound, "no such route")
	}
	if !slices.Contains(strings.Split(allow[endpoint], ", "), r.Method) {
		return failure(http.StatusMethodNotAllowed, "method not allowed").with("Allow", allow[endpoint])
	}
	if endpoint == health {
		return s.health(a)
	}
	key, reason := decodeKey(segment)
	if reason != "" {
		return failure(http.StatusBadRequest, reason)
	}
	if change := r.Method != http.MethodGet && r.Method != http.MethodHead; !a.may(key, change) {
		return failure(http.StatusForbidden, "this API key may not do that in this namespace")
	}
	body, err := s.body(r, endpoint)
	switch {
	case errors.Is(err, errTooLarge):
		return failure(http.StatusRequestEntityTooLarge, "the value is too large")
	case err != nil:
		return failure(http.StatusBadRequest, "the body could not be read")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.operate(s.tenant(a.tenant), endpoint, key.text, body, r)
}

// body reads the request's body whole. What is too large is read to its end
// anyway, up to twice the bound, so that a client of HTTP/1.1 can read the answer.
func (s *Server) body(r *http.Request, endpoint string) ([]byte, error) {
	limit := int64(maxJSONBytes)
	if endpoint == value {
		limit = s.opts.MaxValueBytes
	}
	if r.ContentLength > limit {
		_, _ = io.CopyN(io.Discard, r.Body, 2*limit)
		return nil, errTooLarge
	}
	if r.ContentLength >= 0 {
		body := make([]byte, r.ContentLength)
		_, err := io.ReadFull(r.Body, body)
		return body, err
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	if err == nil && int64(len(body)) > limit {
		_, _ = io.CopyN(io.Discard, r.Body, limit)
		return nil, errTooLarge
	}
	return body, err
}

// operate runs the operation. The caller holds mu.
func (s *Server) operate(t *tenant, endpoint, key string, body []byte, r *http.Request) *answer {
	switch endpoint + " " + r.Method {
	case "value GET", "value HEAD":
		return s.get(t, key, r.Method == http.MethodHead)
	case "value PUT":
		return s.put(t, key, body, r)
	case "value DELETE":
		s.remove(t, key)
		return success()
	case "ttl GET":
		return s.readTTL(t, key)
	case "ttl PATCH":
		return s.patchTTL(t, key, body)
	case "lock POST":
		return s.lock(t, key, body)
	case "lock DELETE":
		return s.unlock(t, key, r)
	}
	return failure(http.StatusInternalServerError, "no such operation")
}

func (s *Server) get(t *tenant, key string, head bool) *answer {
	e := s.find(t, key)
	if e == nil {
		return failure(http.StatusNotFound, "not found")
	}
	a := &answer{status: http.StatusOK, header: http.Header{}, body: e.value}
	a.with("Content-Type", "application/octet-stream").with("X-CacheKit-Freshness", e.freshness(s.now()))
	if !head && e.expires() {
		a.with("X-CacheKit-Fresh-For", strconv.FormatInt(e.freshFor(s.now()), 10))
	}
	return a
}

func (s *Server) put(t *tenant, key string, body []byte, r *http.Request) *answer {
	if len(body) > 0 && r.Header.Get("Content-Type") != "application/octet-stream" {
		return failure(http.StatusBadRequest, "Content-Type must be application/octet-stream")
	}
	ttl, stale, refusal := timing(r.Header)
	if refusal != nil {
		return refusal
	}
	s.store(t, key, newEntry(body, s.now(), ttl, stale))
	return success()
}

func (s *Server) readTTL(t *tenant, key string) *answer {
	e := s.find(t, key)
	switch {
	case e == nil:
		return failure(http.StatusNotFound, "not found")
	case !e.expires():
		return result(http.StatusOK, map[string]any{"ttl": nil})
	}
	return result(http.StatusOK, map[string]any{"ttl": e.evictAt - s.now().Unix()})
}

func (s *Server) patchTTL(t *tenant, key string, body []byte) *answer {
	ttl, ok := number(body, "ttl")
	if !ok || ttl < 1 || ttl > maxTTL {
		return failure(http.StatusBadRequest, "the TTL is not a whole number from 1 to 2592000")
	}
	e, now := s.find(t, key), s.now()
	if e == nil {
		return success() // a no-op, not a miss
	}
	if e.stale(now) {
		return failure(http.StatusConflict, "the entry is stale")
	}
	window := e.evictAt - e.freshUntil
	if ttl+window > maxTTL {
		return failure(http.StatusBadRequest, "TTL and stale TTL together exceed 2592000")
	}
	t.entries[key] = newEntry(e.value, now, ttl, window)
	return success()
}

// number returns a whole number from a JSON object. Names are matched exactly,
// unlike by encoding/json itself.
func number(body []byte, name string) (n int64, ok bool) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil || string(fields[name]) == "null" {
		return 0, false
	}
	err := json.Unmarshal(fields[name], &n)
	return n, err == nil
}

// health counts what the key's tenant has.
func (s *Server) health(a account) *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, now := s.tenant(a.tenant), s.now()
	entries, held := 0, 0
	for _, e := range t.entries {
		if !e.gone(now) {
			entries++
		}
	}
	for _, l := range t.locks {
		if l.held(now) {
			held++
		}
	}
	return result(http.StatusOK, map[string]any{"status": "ok", "cache_entries": entries, "active_locks": held})
}
