package cachekitio_test

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/cachekitio"
	"github.com/cachekit-io/cachekit-go/backends/cachekitio/iotest"
)

// asked returns the requests that f makes.
func asked(s *iotest.Server, f func()) []iotest.Request {
	before := len(s.Requests())
	f()
	return s.Requests()[before:]
}

func put(tb testing.TB, b *cachekitio.Backend, key string, ttl time.Duration) {
	tb.Helper()
	if err := b.Set(tb.Context(), key, []byte("value of "+key), ttl); err != nil {
		tb.Fatal(err)
	}
}

// Rule: a TTL is whole seconds from 1 to 2,592,000, rounded up; NoExpiry is sent
// as no TTL; the stale window goes with every TTL and with nothing else, and both
// are 30 days at most.
func TestWindowsOfAPut(t *testing.T) {
	s := serve(t, nil)
	const day = 24 * time.Hour
	for _, tc := range []struct {
		ttl, stale time.Duration
		want       string // TTL, stale TTL
	}{
		{1, 0, "1, "},
		{time.Second, 0, "1, "},
		{time.Second + 1, 0, "2, "},
		{time.Hour, 0, "3600, "},
		{30 * day, 0, "2592000, "},
		{30*day - 1, 0, "2592000, "},
		{backends.NoExpiry, 0, ", "},
		{time.Hour, 1, "3600, 1"},
		{time.Hour, 90 * time.Minute, "3600, 5400"},
		{29 * day, 2 * day, "2505600, 86400"},
		{30 * day, time.Hour, "2592000, "},
		{backends.NoExpiry, time.Hour, ", "},
	} {
		b := open(t, options(s, func(o *cachekitio.Options) { o.StaleTTL = tc.stale }))
		sent := asked(s, func() { put(t, b, "k", tc.ttl) })
		if len(sent) != 1 {
			t.Fatalf("%d requests", len(sent))
		}
		h := sent[0].Header
		if got := h.Get("X-CacheKit-TTL") + ", " + h.Get("X-CacheKit-Stale-TTL"); got != tc.want || len(h["X-Ttl"]) > 0 {
			t.Errorf("TTL %v with stale TTL %v is sent as %q, want %q", tc.ttl, tc.stale, got, tc.want)
		}
		if h.Get("Content-Type") != "application/octet-stream" {
			t.Errorf("Content-Type is %q", h.Get("Content-Type"))
		}
	}
}

// Rule: what the service would refuse is refused before anything is sent.
func TestRefusedBeforeSending(t *testing.T) {
	s := serve(t, nil)
	b := open(t, options(s, func(o *cachekitio.Options) { o.MaxValueBytes = 100 }))
	ctx := t.Context()
	sent := asked(s, func() {
		for _, ttl := range []time.Duration{0, -1, math.MinInt64, 30*24*time.Hour + 1, math.MaxInt64 - 1} {
			if err := b.Set(ctx, "k", nil, ttl); !errors.Is(err, backends.ErrTTL) {
				t.Errorf("Set with TTL %v = %v, want ErrTTL", ttl, err)
			}
			if _, err := b.Touch(ctx, "k", ttl); !errors.Is(err, backends.ErrTTL) {
				t.Errorf("Touch with TTL %v = %v, want ErrTTL", ttl, err)
			}
		}
		for _, key := range []string{"", ".", "..", "health", "ttl", "lock", "a..b", "a/b", "a b", "a%2Fb", "café", "k:lock",
			strings.Repeat("k", 401), "ns::k", "ns:a.b:k", "nsapi:" + strings.Repeat("n", 65) + ":k"} {
			for name, call := range map[string]func() error{
				"Get":      func() error { _, err := b.Get(ctx, key); return err },
				"GetEntry": func() error { _, err := b.GetEntry(ctx, key); return err },
				"Set":      func() error { return b.Set(ctx, key, nil, time.Hour) },
				"Delete":   func() error { _, err := b.Delete(ctx, key); return err },
				"Exists":   func() error { _, err := b.Exists(ctx, key); return err },
				"TTL":      func() error { _, err := b.TTL(ctx, key); return err },
				"Touch":    func() error { _, err := b.Touch(ctx, key, time.Hour); return err },
				"Lock":     func() error { _, err := b.Lock(ctx, key, time.Hour); return err },
				"Unlock":   func() error { _, err := b.Unlock(ctx, key, "token"); return err },
			} {
				var refused *backends.KeyError
				if err := call(); !errors.As(err, &refused) || len(key) > 3 && strings.Contains(err.Error(), key) {
					t.Errorf("%s of a key of %d bytes = %v, want a *KeyError without the key", name, len(key), err)
				}
			}
		}
		if err := b.Set(ctx, "k", make([]byte, 101), time.Hour); kindOf(err) != backends.TooLarge {
			t.Errorf("Set of 101 bytes = %v, want TooLarge", err)
		}
		if _, err := b.Lock(ctx, "k", 0); !errors.Is(err, backends.ErrTTL) {
			t.Errorf("Lock without a lease = %v", err)
		}
		if ok, err := b.Unlock(ctx, "k", "a\r\nX: y"); ok || err != nil {
			t.Errorf("Unlock with a token that is no header = %t, %v", ok, err)
		}
	})
	if len(sent) != 0 {
		t.Errorf("%d requests were sent, the first: %s %s", len(sent), sent[0].Method, sent[0].Endpoint)
	}
	for _, key := range []string{"a", "A:b_c.d-e", "ns:key", "ns:a-b_C:k", "nsapi:x:k", "ttl:x", strings.Repeat("k", 400)} {
		if err := b.KeyRules().Check(key); err != nil {
			t.Errorf("%.40q: %v", key, err)
		}
	}
}

func kindOf(err error) backends.Kind {
	var e *backends.Error
	if !errors.As(err, &e) {
		return 0
	}
	return e.Kind
}

// Rule: the service's word on the age of an entry comes through, and its absence.
func TestFreshnessOfAnEntry(t *testing.T) {
	s := serve(t, nil)
	b := open(t, options(s, func(o *cachekitio.Options) { o.StaleTTL = time.Hour }))
	read := func() backends.Entry {
		t.Helper()
		e, err := b.GetEntry(t.Context(), "k")
		if err != nil || string(e.Value) != "value of k" || e.TTL != 0 {
			t.Fatalf("GetEntry = %+v, %v", e, err)
		}
		return e
	}
	put(t, b, "k", backends.NoExpiry)
	if e := read(); e.Stale || e.Bounded {
		t.Errorf("without expiry: %+v", e)
	}
	put(t, b, "k", time.Minute)
	if e := read(); e.Stale || !e.Bounded || e.FreshFor > time.Minute || e.FreshFor < 58*time.Second {
		t.Errorf("fresh: %+v", e)
	}
	s.Advance(time.Minute)
	if e := read(); !e.Stale || !e.Bounded || e.FreshFor != 0 {
		t.Errorf("stale: %+v", e)
	}
	for _, tc := range []struct {
		freshness, freshFor string
		want                string
	}{
		{"", "", "stale false, bounded false, 0s"}, // a server that knows neither header
		{"fresh", "30", "stale false, bounded true, 30s"},
		{"Fresh", "30", "stale true, bounded true, 30s"},
		{"fresh", "+30", "stale false, bounded true, 0s"},
		{"fresh", "4297559296", "stale false, bounded true, 0s"},
	} {
		h := http.Header{}
		for name, value := range map[string]string{"X-Cachekit-Freshness": tc.freshness, "X-Cachekit-Fresh-For": tc.freshFor} {
			if value != "" {
				h.Set(name, value)
			}
		}
		s.Inject(iotest.Fault{Kind: iotest.Answer, Times: 1, Header: h, Body: []byte("value of k")})
		e := read()
		if got := fmt.Sprintf("stale %t, bounded %t, %v", e.Stale, e.Bounded, e.FreshFor); got != tc.want {
			t.Errorf("%q and %q read as %s, want %s", tc.freshness, tc.freshFor, got, tc.want)
		}
	}
}

// Rule: a TTL read tells when the entry is gone, its stale window included; a
// stale entry takes no new TTL; a missing one is told apart.
func TestTTLs(t *testing.T) {
	s := serve(t, nil)
	b := open(t, options(s, func(o *cachekitio.Options) { o.StaleTTL = time.Hour }))
	ctx := t.Context()
	put(t, b, "kept", backends.NoExpiry)
	if d, err := b.TTL(ctx, "kept"); d != backends.NoExpiry || err != nil {
		t.Errorf("TTL without expiry = %v, %v", d, err)
	}
	put(t, b, "k", time.Minute)
	if d, err := b.TTL(ctx, "k"); d > 61*time.Minute || d < 60*time.Minute || err != nil {
		t.Errorf("TTL = %v, %v, want 61 m", d, err)
	}
	if ok, err := b.Touch(ctx, "k", 2*time.Minute); !ok || err != nil {
		t.Errorf("Touch = %t, %v", ok, err)
	}
	s.Advance(3 * time.Minute)
	if _, err := b.Touch(ctx, "k", time.Hour); !errors.Is(err, cachekitio.ErrStale) || kindOf(err) != backends.Permanent {
		t.Errorf("Touch of a stale entry = %v, want ErrStale", err)
	}
	for body, want := range map[string]any{
		`{"ttl": null}`: backends.NoExpiry, `{"ttl": 3542}`: 3542 * time.Second, `{"ttl": 0}`: time.Second, `{"ttl":1e99}`: nil,
		`{"ttl": 99999999999999}`: 30 * 24 * time.Hour, `{"ttl": 99999999999999999999}`: nil,
		`{}`: nil, `{"ttl": -1}`: nil, `{"ttl": "5"}`: nil, `{"ttl": 5.5}`: nil, `[]`: nil, ``: nil, `{"ttl": 5`: nil, `null`: nil,
	} {
		s.Inject(iotest.Fault{Kind: iotest.Answer, Times: 1, Body: []byte(body)})
		d, err := b.TTL(ctx, "k")
		if want == nil && kindOf(err) != backends.Transient || want != nil && (d != want || err != nil) {
			t.Errorf("%s reads as %v, %v, want %v", body, d, err, want)
		}
	}
}

// Rule: who has the lock is told by the answer's body, and the token goes back in
// a header alone.
func TestLocks(t *testing.T) {
	s := serve(t, nil)
	b := open(t, s.Options())
	ctx := t.Context()
	var token string
	sent := asked(s, func() {
		var err error
		if token, err = b.Lock(ctx, "k", 1500*time.Microsecond); err != nil {
			t.Fatal(err)
		}
		if ok, err := b.Unlock(ctx, "k", token); !ok || err != nil {
			t.Errorf("Unlock = %t, %v", ok, err)
		}
	})
	if len(sent) != 2 || sent[0].Method != "POST" || sent[1].Method != "DELETE" || sent[1].Header.Get("X-CacheKit-Lock-Id") != token {
		t.Errorf("sent %+v", sent)
	}
	for body, want := range map[string]error{
		`{"lock_id": null}`: backends.ErrLocked, `{}`: backends.ErrLocked, `{"lock_id": ""}`: backends.ErrLocked,
		`{"lock_id": 5}`: nil, `{"lock_id": "a\nb"}`: nil, `{"lock_id": "a b"}`: nil, `not json`: nil, ``: nil, `[]`: nil,
		`{"lock_id": "` + strings.Repeat("x", 300) + `"}`: nil,
	} {
		s.Inject(iotest.Fault{Kind: iotest.Answer, Times: 1, Body: []byte(body)})
		got, err := b.Lock(ctx, "k", time.Hour)
		if got != "" || want != nil && !errors.Is(err, want) || want == nil && kindOf(err) != backends.Transient {
			t.Errorf("%.40s gives %q, %v, want %v", body, got, err, want)
		}
	}
	s.Inject(iotest.Fault{Kind: iotest.Answer, Times: 1, Status: 409})
	if _, err := b.Lock(ctx, "k", time.Hour); !errors.Is(err, backends.ErrLocked) {
		t.Errorf("409 gives %v, want ErrLocked", err)
	}
}

// Rule: every request of every class of key carries the headers that the API
// requires of ck_sdk_ keys, and those that identify the session.
func TestHeadersOfEveryRequest(t *testing.T) {
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	sessions := map[string]bool{}
	for _, class := range []cachekitio.Class{cachekitio.SDK, cachekitio.Direct, cachekitio.Legacy} {
		s := serve(t, nil)
		b := open(t, options(s, func(o *cachekitio.Options) { o.APIKey = apiKey(t, s.NewKey(class, "default")) }))
		everything(t, b)
		stop := b.Meter(func() backends.Counters { return backends.Counters{L1: true, L1Hits: 5, BackendHits: 2, Misses: 1} })
		also := b.Meter(func() backends.Counters { return backends.Counters{Misses: 7} })
		counted := asked(s, func() { everything(t, b) })
		for _, r := range counted {
			h := r.Header
			got := strings.Join([]string{h.Get("X-CacheKit-L1-Status"), h.Get("X-CacheKit-L1-Hits"), h.Get("X-CacheKit-L2-Hits"), h.Get("X-CacheKit-Misses"), h.Get("X-CacheKit-L1-Hit-Rate")}, " ")
			if got != "miss 5 2 8 0.333" {
				t.Errorf("%s %s: counters %q", r.Method, r.Endpoint, got)
			}
		}
		stop()
		also()
		stop()
		uncounted := asked(s, func() { everything(t, b) })
		if h := uncounted[0].Header; h.Get("X-CacheKit-L1-Status") != "disabled" || h.Get("X-CacheKit-L1-Hits") != "" {
			t.Errorf("with no cache in front: %v", h)
		}
		seen := map[string]bool{}
		for _, r := range s.Requests() {
			seen[r.Method+" "+r.Endpoint] = true
			sessions[r.Header.Get("X-CacheKit-Session-ID")+" "+r.Header.Get("X-CacheKit-Session-Start")] = true
			if r.Proto != "HTTP/2.0" || r.Header.Get("X-CacheKit-L1-Status") == "" || !strings.HasPrefix(r.Header.Get("User-Agent"), "cachekit-go/") ||
				!uuid.MatchString(r.Header.Get("X-CacheKit-Session-ID")) || r.Header.Get("Accept-Encoding") != "" {
				t.Errorf("%s %s over %s with %v", r.Method, r.Endpoint, r.Proto, r.Header)
			}
		}
		if len(seen) != 9 {
			t.Errorf("the API has 9 calls, sent were %v", seen)
		}
	}
	if len(sessions) != 1 {
		t.Errorf("one process has the sessions %v", sessions)
	}
}

// everything makes every call of the API.
func everything(t *testing.T, b *cachekitio.Backend) {
	t.Helper()
	ctx := t.Context()
	put(t, b, "k", time.Hour)
	token, err := b.Lock(ctx, "k", time.Minute)
	_, errs := 0, []error{err}
	_, err = b.Unlock(ctx, "k", token)
	errs = append(errs, err)
	_, err = b.GetEntry(ctx, "k")
	errs = append(errs, err)
	_, err = b.TTL(ctx, "k")
	errs = append(errs, err)
	_, err = b.Touch(ctx, "k", time.Hour)
	errs = append(errs, err)
	_, err = b.Delete(ctx, "k")
	errs = append(errs, err, b.Health(ctx).Err)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}
