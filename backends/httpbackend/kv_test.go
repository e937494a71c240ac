package httpbackend_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/backendtest"
	"github.com/cachekit-io/cachekit-go/backends/httpbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// dialect is how a service is asked, told a TTL (0 for none), and tells what is
// left.
type dialect struct {
	key  func(*http.Request) string
	ttl  func(*http.Request) time.Duration
	left func(http.ResponseWriter, time.Time)
}

// kv is a key/value service that expires entries by itself.
type kv struct {
	dialect
	mu     sync.Mutex
	values map[string][]byte
	ends   map[string]time.Time
}

func (s *kv) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || int64(len(body)) != max(r.ContentLength, 0) {
		return // what was not received as a whole is not stored
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := s.key(r)
	v, ok := s.values[key]
	if end := s.ends[key]; ok && !end.IsZero() && !time.Now().Before(end) {
		ok = false
	}
	switch {
	case r.Method == http.MethodPost:
		s.values[key], s.ends[key] = body, time.Time{}
		if ttl := s.ttl(r); ttl != 0 {
			s.ends[key] = time.Now().Add(ttl)
		}
		w.WriteHeader(http.StatusCreated)
	case !ok:
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodDelete:
		delete(s.values, key)
		w.WriteHeader(http.StatusNoContent)
	default:
		s.left(w, s.ends[key])
		_, _ = w.Write(v)
	}
}

func seconds(text string) time.Duration {
	n, _ := strconv.ParseInt(text, 10, 64)
	if n > int64(time.Duration(1<<62)/time.Second) {
		return 1 << 62
	}
	return time.Duration(n) * time.Second
}

func segment(r *http.Request) string {
	key, err := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), "/v1/"))
	if err != nil {
		panic(err)
	}
	return key
}

// told are the ways of telling a TTL, each with what is served and asked.
var told = map[string]struct {
	path    string
	step    time.Duration
	service dialect
	options httpbackend.Options
	without map[string]string
}{
	"header in milliseconds": {
		path: "/v1/{key}", step: time.Millisecond,
		service: dialect{
			key: segment,
			ttl: func(r *http.Request) time.Duration {
				n, _ := strconv.ParseInt(r.Header.Get("X-TTL"), 10, 64)
				return min(time.Duration(n), 1<<62/time.Millisecond) * time.Millisecond
			},
			left: func(w http.ResponseWriter, end time.Time) {
				if !end.IsZero() {
					w.Header().Set("X-Left", strconv.FormatInt(time.Until(end).Milliseconds(), 10))
				}
			},
		},
		options: httpbackend.Options{TTLHeader: "X-TTL", TTLFormat: httpbackend.Milliseconds},
		without: map[string]string{"EntryTTL": "the service tells no TTL"},
	},
	"query in seconds": {
		path: "/v1/kv?name={key}&expires={ttl}", step: time.Second,
		service: dialect{
			key: func(r *http.Request) string { return r.URL.Query().Get("name") },
			ttl: func(r *http.Request) time.Duration { return seconds(r.URL.Query().Get("expires")) },
			left: func(w http.ResponseWriter, end time.Time) {
				left := int64(1 << 40)
				if !end.IsZero() {
					left = int64(time.Until(end)/time.Second) + 1
				}
				w.Header().Set("X-Left", strconv.FormatInt(left, 10))
			},
		},
		options: httpbackend.Options{RemainingHeader: "X-Left"},
	},
	"cache-control": {
		path: "/v1/{key}", step: time.Second,
		service: dialect{
			key: segment,
			ttl: func(r *http.Request) time.Duration {
				return seconds(strings.TrimPrefix(r.Header.Get("Cache-Control"), "max-age="))
			},
			left: func(w http.ResponseWriter, end time.Time) {
				w.Header().Set("Cache-Control", fmt.Sprint("private, max-age=", int64(1<<40)))
				if !end.IsZero() {
					w.Header().Set("Cache-Control", fmt.Sprint("private, max-age=", int64(time.Until(end)/time.Second)+1))
				}
			},
		},
		options: httpbackend.Options{TTLHeader: "Cache-Control", TTLFormat: httpbackend.MaxAge, RemainingHeader: "Cache-Control"},
	},
}

// The suite against a service that is told the TTL, in the ways there are.
func TestConformanceTold(t *testing.T) {
	t.Parallel() // it waits more than it works
	for name, c := range told {
		t.Run(name, func(t *testing.T) {
			backendtest.Run(t, backendtest.Harness{
				Want: []string{"EntryReader", "KeyRuler"}, Granularity: c.step, Without: c.without,
				Open: func(tb testing.TB) backendtest.Subject {
					service := &kv{dialect: c.service, values: map[string][]byte{}, ends: map[string]time.Time{}}
					s := httptest.NewServer(service)
					tb.Cleanup(s.Close)
					p := testenv.Proxy(tb, s.Listener.Addr().String())
					o := c.options
					o.PlainHTTP, o.PrivateNetwork, o.Methods.Set, o.Timeout = true, true, http.MethodPost, 10*time.Second
					o.Authorize = authorize
					return backendtest.Subject{
						Backend: open(tb, "http://"+p.Addr()+c.path, &o),
						Other:   func(tb testing.TB) backends.Backend { return open(tb, s.URL+c.path, &o) },
						Stall:   p.Stall, Resume: p.Resume, Kill: p.Kill,
						Raw: func(_ testing.TB, key string) []byte {
							service.mu.Lock()
							defer service.mu.Unlock()
							return service.values[key]
						},
						Secrets: []string{token},
					}
				},
			})
		})
	}
}
