package cachekitio_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/cachekitio"
	"github.com/cachekit-io/cachekit-go/internal/guard"
)

// FuzzBodies puts bytes in place of the JSON that the service answers with. What
// is read from them is in range, and no error repeats them.
func FuzzBodies(f *testing.F) {
	for _, seed := range []string{
		`{"ttl":5}`, `{"ttl":null}`, `{"ttl":-1}`, `{"ttl":9223372036854775808}`, `{"ttl":"5"}`, `{"ttl":5e3}`, `{}`, ``, `null`, `[`,
		`{"lock_id":"2b2c"}`, `{"lock_id":null}`, `{"lock_id":"a\nb"}`, `{"lock_id":7}`, `{"cache_entries":3,"active_locks":0}`,
		`{"cache_entries":1e30}`, strings.Repeat("[", 4096),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		left, err := cachekitio.Remaining(body)
		if err == nil && left != backends.NoExpiry && (left <= 0 || left > 30*24*time.Hour || left%time.Second != 0) {
			t.Errorf("%q: a TTL of %v", body, left)
		}
		token, lockErr := cachekitio.LockID(body)
		if lockErr == nil && (token == "" || len(token) > 256 || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })) {
			t.Errorf("%q: a token %q", body, token)
		}
		for name, text := range cachekitio.Details(body) {
			if strings.Trim(text, "-0123456789") != "" || len(text) > 20 || name != "entries" && name != "locks" {
				t.Errorf("%q: a detail %s %q", body, name, text)
			}
		}
		for _, err := range []error{err, lockErr} {
			if err != nil && len(body) > 12 && strings.Contains(err.Error(), string(body)) {
				t.Errorf("the error repeats the body: %v", err)
			}
		}
	})
}

// FuzzRefusals puts statuses and headers in place of those of the service.
func FuzzRefusals(f *testing.F) {
	for _, status := range []int{0, 302, 400, 401, 403, 404, 409, 413, 429, 500, 503, 999} {
		f.Add(status, "5", "")
		f.Add(status, "Fri, 31 Dec 2100 23:59:59 GMT", "quota")
	}
	f.Fuzz(func(t *testing.T, status int, after, deny string) {
		err := cachekitio.Refusal(&guard.Response{Status: status, Header: map[string][]string{"Retry-After": {after}, "X-Cachekit-Deny-Reason": {deny}}})
		var failed *backends.Error
		if !errors.As(err, &failed) || failed.RetryAfter < 0 || failed.RetryAfter > 24*time.Hour {
			t.Fatalf("status %d: %v", status, err)
		}
		if text := err.Error(); len(deny) > 12 && strings.Contains(text, deny) || len(after) > 12 && strings.Contains(text, after) {
			t.Errorf("the error repeats a header: %s", text)
		}
	})
}
