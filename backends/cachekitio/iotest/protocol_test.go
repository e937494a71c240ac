package iotest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends/cachekitio"
	"github.com/cachekit-io/cachekit-go/backends/cachekitio/iotest"
)

func TestValues(t *testing.T) {
	both(t, func(t *testing.T, s *iotest.Server, c *client) {
		want := 1
		if strings.HasSuffix(t.Name(), "2") {
			want = 2
		}
		if r := c.want(404, "GET", base+"a", ""); r.proto != want {
			t.Fatalf("HTTP/%d, want %d", r.proto, want)
		}
		for _, value := range []string{"", "\x00\xff", big(1 << 20)} {
			c.want(200, "PUT", base+"a%3Ab", value)
			if r := c.want(200, "GET", base+"a%3Ab", ""); r.body != value {
				t.Fatalf("got %d bytes, want %d", len(r.body), len(value))
			}
			if r := c.want(200, "HEAD", base+"a%3Ab", ""); r.body != "" {
				t.Fatal("HEAD has a body")
			}
		}
		for range 2 {
			if r := c.want(200, "DELETE", base+"a%3Ab", ""); r.field("success") != true {
				t.Errorf("DELETE answers %s", r.body)
			}
		}
		c.want(404, "HEAD", base+"a%3Ab", "")
	})
}

// TestEveryAnswerForbidsCaches: no-store and Vary stand on hits, misses and
// refusals.
func TestEveryAnswerForbidsCaches(t *testing.T) {
	s := start(t, nil)
	c := newClient(t, s, true)
	c.want(200, "PUT", base+"a", "x")
	for _, r := range []reply{
		c.want(200, "GET", base+"a", ""), c.want(404, "GET", base+"b", ""), c.want(400, "GET", base+"%2F", ""),
		c.as("ck_sdk_unknown").want(401, "GET", base+"a", ""), c.want(405, "POST", base+"a", ""), c.want(204, "OPTIONS", base+"a", ""),
	} {
		if r.header.Get("Cache-Control") != "no-store" || r.header.Get("Vary") != "Authorization" {
			t.Errorf("%d: %v", r.status, r.header)
		}
	}
}

func TestAuthentication(t *testing.T) {
	both(t, func(t *testing.T, s *iotest.Server, c *client) {
		revoked := s.NewKey(cachekitio.Legacy, "acme")
		c.as(revoked).want(200, "PUT", base+"a", "x")
		s.Revoke(revoked)
		for _, header := range []string{
			"Authorization: ", "Authorization: Bearer", "Authorization: Basic " + c.key, "Authorization: " + c.key,
			"Authorization: Bearer ck_sdk_x", "Authorization: Bearer " + revoked, "Authorization: Bearer " + c.key + "x",
		} {
			// It precedes every other refusal: of the route, the method, the key, the L1 status.
			for _, path := range []string{base + "a", base + "%2F", base + "a/b/c", base + "health"} {
				c.want(401, "GET", path, "", header, "X-CacheKit-L1-Status: ")
			}
		}
		c.want(200, "GET", base+"health", "", "Authorization: bearer "+c.key)
		c.want(204, "OPTIONS", base+"a", "", "Authorization: ")
		if r := c.do("GET", base+"a", "", "Authorization: Bearer "+revoked); strings.Contains(r.body, revoked) {
			t.Error("the refusal repeats the API key")
		}
	})
}

func TestL1Status(t *testing.T) {
	s := start(t, nil)
	c := newClient(t, s, true)
	for _, status := range []string{"hit", "miss", "disabled"} {
		c.want(200, "GET", base+"health", "", "X-CacheKit-L1-Status: "+status)
	}
	for _, request := range [][2]string{{"GET", "a"}, {"HEAD", "a"}, {"PUT", "a"}, {"DELETE", "a"}, {"GET", "health"}, {"GET", "a/ttl"}, {"POST", "a/lock"}} {
		for _, header := range []string{"", "HIT", "hit, miss", "yes"} {
			c.want(400, request[0], base+request[1], "", "X-CacheKit-L1-Status: "+header)
		}
	}
	for _, class := range []cachekitio.Class{cachekitio.Direct, cachekitio.Legacy} {
		c.as(s.NewKey(class, "default")).want(200, "GET", base+"health", "", "X-CacheKit-L1-Status: ")
	}
}

// TestWriteSpaces: who may change what, for every class and every kind of key.
func TestWriteSpaces(t *testing.T) {
	s := start(t, nil)
	c := newClient(t, s, true)
	for _, tc := range []struct {
		class cachekitio.Class
		key   string
		write int
	}{
		{cachekitio.SDK, "ns%3Aa%3Ab", 200}, {cachekitio.SDK, "nsapi%3Aa%3Ab", 403}, {cachekitio.SDK, "a%3Ab", 200},
		{cachekitio.Direct, "ns%3Aa%3Ab", 403}, {cachekitio.Direct, "nsapi%3Aa%3Ab", 200}, {cachekitio.Direct, "a%3Ab", 200},
		{cachekitio.Legacy, "ns%3Aa%3Ab", 200}, {cachekitio.Legacy, "nsapi%3Aa%3Ab", 200}, {cachekitio.Legacy, "nsx%3Ab", 200},
	} {
		k := c.as(s.NewKey(tc.class, "t"))
		k.want(tc.write, "PUT", base+tc.key, "x")
		k.want(tc.write, "PATCH", base+tc.key+"/ttl", `{"ttl": 5}`)
		k.want(tc.write, "POST", base+tc.key+"/lock", `{"timeout_ms": 5}`)
		k.want(tc.write, "DELETE", base+tc.key+"/lock", "", "X-CacheKit-Lock-Id: x")
		c.as(s.NewKey(cachekitio.Legacy, "t")).want(200, "PUT", base+tc.key, "x")
		k.want(200, "GET", base+tc.key, "")
		k.want(200, "GET", base+tc.key+"/ttl", "")
		k.want(tc.write, "DELETE", base+tc.key, "")
	}
}

// TestGrants: a key with namespaces reads and writes those alone; keys without a
// prefix are in "default".
func TestGrants(t *testing.T) {
	s := start(t, nil)
	c := newClient(t, s, true).as(s.NewKey(cachekitio.SDK, "t", "a", "b"))
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE"} {
		want := map[string]int{"GET": 404, "HEAD": 404}[method]
		if want == 0 {
			want = 200
		}
		c.want(want, method, base+"ns%3Aa%3Ax", "")
		c.want(want, method, base+"ns%3Ab%3Ax", "")
		c.want(403, method, base+"ns%3Ac%3Ax", "")
		c.want(403, method, base+"plain", "")
	}
	c.as(s.NewKey(cachekitio.SDK, "t", "default")).want(200, "PUT", base+"plain", "")
}

func TestTenantsAreApart(t *testing.T) {
	s := start(t, nil)
	a := newClient(t, s, true)
	b := a.as(s.NewKey(cachekitio.SDK, "other"))
	a.want(200, "PUT", base+"k", "a")
	b.want(404, "GET", base+"k", "")
	b.want(200, "PUT", base+"k", "b")
	b.want(200, "DELETE", base+"k", "")
	if r := a.want(200, "GET", base+"k", ""); r.body != "a" {
		t.Errorf("got %q", r.body)
	}
	id := a.want(200, "POST", base+"k/lock", `{"timeout_ms": 60000}`).field("lock_id")
	if other := b.want(200, "POST", base+"k/lock", `{"timeout_ms": 60000}`).field("lock_id"); id == nil || other == nil {
		t.Errorf("locks %v and %v", id, other)
	}
}

func TestKeys(t *testing.T) {
	s := start(t, nil)
	c := newClient(t, s, true)
	for segment, status := range map[string]int{
		"a": 404, "a%3Ab": 404, "a:b": 404, "%61": 404, "A-Z_0.9": 404, ".a.": 404, strings.Repeat("k", 400): 404, "ns%3Aa-B_1%3Ax": 404,
		"nsx%3Aa": 404, "ns": 404, "ns%3A" + strings.Repeat("n", 64) + "%3Ax": 404,
		strings.Repeat("k", 401): 400, "a..b": 400, "a%2E%2Eb": 400, "..a": 400, "a%2Fb": 400, "a%20b": 400, "a+b": 400, "a%25": 400, "a%2541": 400,
		"a%FF": 400, "caf%C3%A9": 400, "a~b": 400, "a%00": 400, "ns%3A%3Ax": 400, "ns%3Aa.b%3Ax": 400, "nsapi%3Aab": 400,
		"ns%3A" + strings.Repeat("n", 65) + "%3Ax": 400, "ttl": 400, "lock": 405, "a/b": 404, "a/ttl/x": 404, "": 404,
	} {
		r := c.want(status, "GET", base+segment, "")
		if len(segment) > 4 && strings.Contains(r.body, segment) {
			t.Errorf("%q: the answer repeats it: %s", segment, r.body)
		}
	}
	for _, segment := range []string{"a%zz", "a%", "a%2"} { // over HTTP/2 net/http resets such a stream
		newClient(t, s, false).want(400, "GET", base+segment, "")
	}
	c.want(400, "GET", base+"/ttl", "")
	c.want(200, "GET", base+"health", "")
	c.want(404, "GET", "/", "")
	c.want(404, "GET", "/v1/other", "")
}

// TestDotSegments: they are gone before the route is found, in every spelling.
func TestDotSegments(t *testing.T) {
	s := start(t, nil)
	c := newClient(t, s, false)
	c.want(200, "PUT", base+"k", "x")
	for _, path := range []string{base + "x/../k", base + "./k", base + "%2e/k", base + "x/%2E%2e/k", base + "x/.%2E/k", base + `x\..\k`, "/v1/../v1/cache/k"} {
		c.want(200, "GET", path, "")
	}
	for _, path := range []string{base + "..", base + "%2e%2E", base + "../ttl", base + ".", "/../.."} {
		c.want(404, "GET", path, "")
	}
}

func TestMethods(t *testing.T) {
	s := start(t, nil)
	c := newClient(t, s, true)
	for endpoint, allow := range map[string]string{"a": "GET, HEAD, PUT, DELETE", "a/ttl": "GET, PATCH", "a/lock": "POST, DELETE", "health": "GET"} {
		for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "POST", "PATCH", "TRACE", "PURGE"} {
			r := c.do(method, base+endpoint, "")
			allowed := strings.Contains(", "+allow+",", ", "+method+",")
			if (r.status == http.StatusMethodNotAllowed) == allowed || !allowed && r.header.Get("Allow") != allow {
				t.Errorf("%s %s: %d, Allow %q", method, endpoint, r.status, r.header.Get("Allow"))
			}
		}
	}
}

func TestTooLarge(t *testing.T) {
	const limit = 1 << 20
	for _, http2 := range []bool{true, false} {
		s := start(t, &iotest.Options{MaxValueBytes: limit})
		c := newClient(t, s, http2)
		c.want(200, "PUT", base+"a", big(limit))
		c.want(413, "PUT", base+"a", big(limit+1))
		if r := c.want(200, "GET", base+"a", ""); len(r.body) != limit {
			t.Errorf("after a refusal the entry has %d bytes", len(r.body))
		}
	}
	if s := start(t, nil); s != nil {
		c := newClient(t, s, true)
		c.want(200, "PUT", base+"a", big(25<<20))
		c.want(413, "PUT", base+"a", big(25<<20+1))
	}
}

func TestContentType(t *testing.T) {
	s := start(t, nil)
	c := newClient(t, s, true)
	c.want(400, "PUT", base+"a", "x", "Content-Type: application/json")
	c.want(400, "PUT", base+"a", "x", "Content-Type: ")
	c.want(404, "GET", base+"a", "")
	c.want(200, "PUT", base+"a", "x")
	if r := c.want(200, "GET", base+"a", ""); r.header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("Content-Type %q", r.header.Get("Content-Type"))
	}
}

func TestLimits(t *testing.T) {
	s := frozen(t, 0)
	c := newClient(t, s, true)
	s.Limit("default", iotest.Limits{PerMinute: 2})
	c.want(404, "GET", base+"a", "")
	c.want(404, "GET", base+"a", "")
	r := c.want(429, "GET", base+"a", "")
	if r.header.Get("Retry-After") != "40" || r.header.Get("X-CacheKit-Deny-Reason") != "" { // 1_700_000_000 is 20 s into its minute
		t.Errorf("%v, want Retry-After: 40", r.header)
	}
	c.as(s.NewKey(cachekitio.SDK, "other")).want(404, "GET", base+"a", "")
	s.Advance(40 * time.Second)
	c.want(404, "GET", base+"a", "")

	s.Limit("default", iotest.Limits{Quota: 1})
	c.want(404, "GET", base+"a", "")
	s.Advance(time.Hour)
	r = c.want(429, "GET", base+"a", "")
	if r.header.Get("Retry-After") != "" || r.header.Get("X-CacheKit-Deny-Reason") == "" {
		t.Errorf("%v, want X-CacheKit-Deny-Reason and no Retry-After", r.header)
	}
	s.Limit("default", iotest.Limits{})
	c.want(404, "GET", base+"a", "")
}

func TestHealth(t *testing.T) {
	s := frozen(t, 0)
	c := newClient(t, s, true)
	for i := range 3 {
		c.want(200, "PUT", fmt.Sprint(base, "k", i), "x", fmt.Sprint("X-CacheKit-TTL: ", 10*(i+1)))
		c.want(200, "POST", fmt.Sprint(base, "k", i, "/lock"), fmt.Sprintf(`{"timeout_ms": %d}`, 10_000*(i+1)))
	}
	s.Advance(10 * time.Second)
	r := c.want(200, "GET", base+"health", "")
	if r.field("status") != "ok" || r.field("cache_entries") != 2.0 || r.field("active_locks") != 2.0 {
		t.Errorf("health %s, want 2 entries and 2 locks", r.body)
	}
}

// TestEviction: beyond its bound the server drops other entries, never the one
// that it was just given.
func TestEviction(t *testing.T) {
	s := start(t, &iotest.Options{MaxBytes: 1000})
	c := newClient(t, s, true)
	for i := range 20 {
		c.want(200, "PUT", fmt.Sprint(base, "k", i), big(300))
		c.want(200, "GET", fmt.Sprint(base, "k", i), "")
	}
	if n := c.want(200, "GET", base+"health", "").field("cache_entries"); n != 3.0 {
		t.Errorf("%v entries of 300 bytes in 1000", n)
	}
}
