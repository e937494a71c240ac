package httpbackend

import (
	"math"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// Rule: a TTL is rounded up, never down and never to nothing, in every format.
func TestFormat(t *testing.T) {
	for _, c := range []struct {
		f    Format
		ttl  time.Duration
		now  time.Time
		want string
	}{
		{Seconds, 1, noon, "1"},
		{Seconds, time.Second, noon, "1"},
		{Seconds, time.Second + 1, noon, "2"},
		{Seconds, math.MaxInt64 - 1, noon, "9223372037"},
		{Milliseconds, 1, noon, "1"},
		{Milliseconds, 1500 * time.Microsecond, noon, "2"},
		{MaxAge, time.Minute, noon, "max-age=60"},
		{HTTPDate, time.Minute, noon, "Fri, 02 Jan 2026 12:01:00 GMT"},
		{HTTPDate, time.Minute, noon.Add(1), "Fri, 02 Jan 2026 12:01:01 GMT"},
		{HTTPDate, 1, noon.In(time.FixedZone("", 3600)), "Fri, 02 Jan 2026 12:00:01 GMT"},
		{UnixSeconds, time.Second, noon, "1767355201"},
		{UnixSeconds, 1500 * time.Millisecond, noon.Add(600 * time.Millisecond), "1767355203"},
		{UnixSeconds, math.MaxInt64 - 1, noon, "10990727237"},
	} {
		if got := c.f.format(c.ttl, c.now); got != c.want {
			t.Errorf("format %d of %v = %s, want %s", c.f, c.ttl, got, c.want)
		}
	}
}

// Rule: what a server tells of the TTL left is read without overflow; what it
// does not mean is "unknown".
func TestParseRemaining(t *testing.T) {
	for _, c := range []struct {
		f    Format
		text string
		want time.Duration
	}{
		{Seconds, "60", time.Minute}, {Seconds, "0", 0}, {Seconds, "", 0}, {Seconds, "-1", 0}, {Seconds, "1.5", 0}, {Seconds, "canary", 0},
		{Seconds, "9223372036854775807", backends.NoExpiry}, {Seconds, "9223372036854775808", 0},
		{Milliseconds, "1500", 1500 * time.Millisecond}, {Milliseconds, "9223372036854775807", backends.NoExpiry},
		{MaxAge, "max-age=60", time.Minute}, {MaxAge, "private, Max-Age=60, x", time.Minute}, {MaxAge, "no-store", 0}, {MaxAge, "s-maxage=60", 0}, {MaxAge, "", 0},
		{HTTPDate, "Fri, 02 Jan 2026 12:01:00 GMT", time.Minute}, {HTTPDate, "Fri, 02 Jan 2026 11:00:00 GMT", 0}, {HTTPDate, "0", 0},
		{UnixSeconds, "1767355260", time.Minute}, {UnixSeconds, "1", 0}, {UnixSeconds, "9223372036854775807", backends.NoExpiry},
	} {
		if got := c.f.parse(c.text, noon); got != c.want {
			t.Errorf("format %d: %q = %v, want %v", c.f, c.text, got, c.want)
		}
	}
}

// Rule: a frame ends when the TTL does, at most one millisecond later.
func TestFrame(t *testing.T) {
	for _, now := range []time.Time{noon, noon.Add(1), noon.Add(999_999)} {
		for _, ttl := range []time.Duration{1, time.Millisecond, time.Millisecond + 1, time.Hour, math.MaxInt64 - 1} {
			b := frame([]byte("value"), ttl, now)
			last := now.Add(ttl - 1)
			if v, _, err := unframe(b, last); err != nil || string(v) != "value" {
				t.Errorf("%v before the end of %v: %q, %v", 1, ttl, v, err)
			}
			if v, _, err := unframe(b, now.Add(ttl).Add(2*time.Millisecond)); err != backends.ErrNotFound || v != nil {
				t.Errorf("2 ms after the end of %v: %q, %v", ttl, v, err)
			}
		}
		if _, left, err := unframe(frame(nil, backends.NoExpiry, now), now.AddDate(5000, 0, 0)); err != nil || left != backends.NoExpiry {
			t.Errorf("without expiry: %v, %v", left, err)
		}
	}
}

func FuzzUnframe(f *testing.F) {
	f.Add(frame([]byte("value"), time.Hour, noon))
	f.Add(frame(nil, backends.NoExpiry, noon))
	f.Add([]byte("CKH1\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, left, err := unframe(b, noon)
		if err != nil {
			if v != nil {
				t.Error("bytes beside an error")
			}
			return
		}
		if len(v) != len(b)-frameBytes || left <= 0 {
			t.Errorf("%d of %d bytes, %v left", len(v), len(b), left)
		}
	})
}
