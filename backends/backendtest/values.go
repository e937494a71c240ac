package backendtest

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

const hour = time.Hour

func valueCases() []Case {
	return []Case{
		{Name: "Miss", Rule: "a missing entry is ErrNotFound from every read, and false from Exists and Delete", run: func(t *probe) {
			b := t.backend()
			t.misses(b, key("none"))
			want := !t.harness.can("DeleteReport")
			if ok, err := b.Delete(t.ctx, key("none")); ok != want || err != nil {
				t.Errorf("Delete of a missing entry = %t, %v, want %t, nil", ok, err, want)
			}
		}},
		{Name: "RoundTrip", Rule: "values of 0 bytes to 8 MiB come back as they were, whatever bytes they hold", run: func(t *probe) {
			b := t.backend()
			for _, n := range []int{0, 1, 255, 1 << 10, 64 << 10, 1 << 20, 8 << 20} {
				if limit := t.harness.MaxValue; limit > 0 && n > limit {
					continue
				}
				k, v := key(fmt.Sprint("size", n)), payload("round trip", n)
				t.set(b, k, v, hour)
				t.holds(b, k, v)
			}
		}},
		{Name: "Overwrite", Rule: "Set replaces the value that was there, whatever their sizes", run: func(t *probe) {
			b := t.backend()
			for _, n := range []int{100, 5000, 10, 0, 300} {
				v := payload(fmt.Sprint("overwrite", n), n)
				t.set(b, key("k"), v, hour)
				t.holds(b, key("k"), v)
			}
		}},
		{Name: "Delete", Rule: "Delete removes the entry and reports that there was one", run: func(t *probe) {
			b := t.backend()
			t.set(b, key("k"), payload("v", 10), hour)
			t.set(b, key("l"), payload("v", 10), hour)
			if ok, err := b.Exists(t.ctx, key("k")); !ok || err != nil {
				t.Errorf("Exists of an entry = %t, %v, want true, nil", ok, err)
			}
			if ok, err := b.Delete(t.ctx, key("k")); !ok || err != nil {
				t.Errorf("Delete of an entry = %t, %v, want true, nil", ok, err)
			}
			t.misses(b, key("k"))
			t.holds(b, key("l"), payload("v", 10))
		}},
		{Name: "CallerOwnsResult", Rule: "the caller owns the slice that Get returns: changing it changes nothing", run: func(t *probe) {
			b := t.backend()
			v := payload("owned", 2000)
			t.set(b, key("k"), v, hour)
			got, err := b.Get(t.ctx, key("k"))
			if err != nil {
				t.Fatalf("Get = %v", err)
			}
			clear(got)
			_ = append(got, 1, 2, 3)
			t.holds(b, key("k"), v)
		}},
		{Name: "KeepsNoReference", Rule: "the backend keeps no reference to the value passed to Set", run: func(t *probe) {
			b := t.backend()
			v := payload("borrowed", 2000)
			passed := bytes.Clone(v)
			t.set(b, key("k"), passed, hour)
			clear(passed)
			t.holds(b, key("k"), v)
		}},
		{Name: "StoresBytesAsGiven", Rule: "the storage holds the bytes that were given, in the documented framing and nothing else", Needs: []string{"Raw"}, run: func(t *probe) {
			s := t.open()
			v := payload("raw", 3000)
			t.set(s.Backend, key("k"), v, hour)
			t.same("the storage", s.Raw(t, key("k")), v)
		}},
		{Name: "SeenByOthers", Rule: "what one handle stored, another on the same storage reads, overwrites and deletes", Needs: []string{"Other"}, run: func(t *probe) {
			s := t.open()
			other := t.other(s)
			t.set(s.Backend, key("k"), payload("one", 100), hour)
			t.holds(other, key("k"), payload("one", 100))
			t.set(other, key("k"), payload("two", 100), hour)
			t.holds(s.Backend, key("k"), payload("two", 100))
			if ok, err := other.Delete(t.ctx, key("k")); !ok || err != nil {
				t.Errorf("Delete by the other handle = %t, %v", ok, err)
			}
			t.misses(s.Backend, key("k"))
		}},
		{Name: "TooLarge", Rule: "a value over the storage's limit is refused as TooLarge, and the old value stays", Needs: []string{"MaxValue"}, run: tooLarge},
	}
}

func tooLarge(t *probe) {
	limit := t.harness.MaxValue
	b := t.backend()
	t.set(b, key("k"), payload("old", 10), hour)
	err := b.Set(t.ctx, key("k"), make([]byte, limit+1), hour)
	var e *backends.Error
	if !errors.As(err, &e) || e.Kind != backends.TooLarge {
		t.Errorf("Set of %d bytes = %v, want a *backends.Error of kind TooLarge", limit+1, err)
	}
	t.clean(err)
	t.holds(b, key("k"), payload("old", 10))
}

func ttlCases() []Case {
	return []Case{
		{Name: "Expires", Rule: "an entry lives for its TTL, at most one step of the storage's clock longer, and is then a miss", run: func(t *probe) {
			s := t.open()
			v := payload("brief", 50)
			t.set(s.Backend, key("brief"), v, 300*time.Millisecond)
			t.set(s.Backend, key("long"), v, hour)
			t.holds(s.Backend, key("brief"), v)
			t.expires(s, key("brief"), 300*time.Millisecond)
			t.misses(s.Backend, key("brief"))
			t.holds(s.Backend, key("long"), v)
		}},
		{Name: "TTLRoundsUp", Rule: "a TTL below the step of the clock is rounded up: neither at once expired nor kept for ever", run: func(t *probe) {
			s := t.open()
			t.set(s.Backend, key("k"), payload("v", 5), time.Nanosecond)
			t.expires(s, key("k"), t.harness.Granularity)
		}},
		{Name: "TTLRefused", Rule: "a TTL that is neither positive nor NoExpiry is ErrTTL, and nothing changes", run: func(t *probe) {
			b := t.backend()
			t.set(b, key("k"), payload("old", 5), hour)
			for _, ttl := range []time.Duration{0, -1, -time.Hour, math.MinInt64} {
				t.failed(fmt.Sprint("Set with ttl ", ttl), b.Set(t.ctx, key("k"), payload("new", 5), ttl), backends.ErrTTL)
				if c := backends.CapabilitiesOf(b).TTLer; c != nil {
					_, err := c.Touch(t.ctx, key("k"), ttl)
					t.failed(fmt.Sprint("Touch with ttl ", ttl), err, backends.ErrTTL)
				}
			}
			t.holds(b, key("k"), payload("old", 5))
		}},
		{Name: "LongTTLs", Rule: "100 years, the longest duration but one and NoExpiry store an entry that is there", run: func(t *probe) {
			b := t.backend()
			for i, ttl := range []time.Duration{100 * 365 * 24 * hour, math.MaxInt64 - 1, backends.NoExpiry} {
				k := key(fmt.Sprint("long", i))
				if limit := t.harness.MaxTTL; ttl != backends.NoExpiry && ttl > limit && !t.harness.can("LongTTL") {
					t.failed(fmt.Sprint("Set with ttl ", ttl), b.Set(t.ctx, k, payload("v", 5), ttl), backends.ErrTTL)
					t.misses(b, k)
					ttl = limit
				}
				t.set(b, k, payload("v", 5), ttl)
				t.holds(b, k, payload("v", 5))
				t.ttlIs(b, k, ttl)
			}
		}},
		{Name: "OverwriteReplacesTTL", Rule: "the TTL of an overwrite takes the place of the old one, NoExpiry included", run: func(t *probe) {
			s := t.open()
			v := payload("v", 5)
			t.set(s.Backend, key("k"), v, backends.NoExpiry)
			t.set(s.Backend, key("k"), v, 200*time.Millisecond)
			t.set(s.Backend, key("kept"), v, 200*time.Millisecond)
			t.set(s.Backend, key("kept"), v, backends.NoExpiry)
			t.expires(s, key("k"), 200*time.Millisecond)
			t.holds(s.Backend, key("kept"), v)
		}},
	}
}

// expires waits until the entry is gone, which must be after ttl and not much
// later.
func (t *probe) expires(s *Subject, k string, ttl time.Duration) {
	t.Helper()
	if s.Advance != nil {
		s.Advance(ttl + t.harness.Granularity)
	}
	gone := func() bool {
		ok, err := s.Backend.Exists(t.ctx, k)
		if err != nil {
			t.Fatalf("Exists = %v", err)
		}
		return !ok
	}
	if !eventually(ttl+t.harness.Granularity+2*time.Second, gone) {
		t.Errorf("an entry with a TTL of %v is still there", ttl)
	}
}

// ttlIs checks what a TTLer says, where there is one: at most what was asked, and
// not much less.
func (t *probe) ttlIs(b backends.Backend, k string, want time.Duration) {
	t.Helper()
	c := backends.CapabilitiesOf(b).TTLer
	if c == nil {
		return
	}
	got, err := c.TTL(t.ctx, k)
	if err != nil {
		t.Errorf("TTL = %v", err)
		return
	}
	t.near(got, want)
}

func (t *probe) near(got, want time.Duration) {
	t.Helper()
	if limit := t.harness.MaxTTL; limit > 0 && want != backends.NoExpiry {
		want = min(want, limit)
	}
	// A storage may take a TTL beyond a lifetime as "for ever".
	if got == backends.NoExpiry && want > 200*365*24*hour {
		return
	}
	slack := t.harness.Granularity + 10*time.Second
	if want == backends.NoExpiry && got != want || got <= 0 || got > want && got-want > t.harness.Granularity || got < want-slack {
		t.Errorf("the TTL left is %v, want %v", got, want)
	}
}
