package backendtest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

func batchCases() []Case {
	return []Case{
		{Name: "Batch", Rule: "a batch has one result for each key, in order, repeated and missing keys included", Needs: []string{"Batcher"}, run: func(t *probe) {
			b := t.backend()
			c := backends.CapabilitiesOf(b).Batcher
			var items []backends.Item
			var keys []string
			for i := range 1000 {
				items = append(items, backends.Item{Key: key(fmt.Sprint(i)), Value: payload(fmt.Sprint(i), 30+i%50), TTL: hour})
				keys = append(keys, key(fmt.Sprint(i)))
			}
			for i, err := range t.results(len(items), c.SetMany(t.ctx, items)) {
				if err != nil {
					t.Fatalf("SetMany: result %d = %v", i, err)
				}
			}
			ask := append(slices.Clone(keys), key("none"), keys[7], keys[7])
			got := c.GetMany(t.ctx, ask)
			if len(got) != len(ask) {
				t.Fatalf("GetMany gave %d results for %d keys", len(got), len(ask))
			}
			for i, r := range got {
				if ask[i] == key("none") {
					t.failed("GetMany of a missing key", r.Err, backends.ErrNotFound)
					continue
				}
				if want := items[slices.Index(keys, ask[i])].Value; r.Err != nil || !bytes.Equal(r.Entry.Value, want) {
					t.Fatalf("GetMany: result %d has %d bytes, %v", i, len(r.Entry.Value), r.Err)
				}
			}
			gone := c.DeleteMany(t.ctx, []string{keys[0], key("none"), keys[1]})
			if len(gone) != 3 || !gone[0].Existed || gone[1].Existed || !gone[2].Existed {
				t.Errorf("DeleteMany = %+v", gone)
			}
			t.misses(b, keys[0])
			t.holds(b, keys[2], items[2].Value)
		}},
		{Name: "BatchEmpty", Rule: "an empty batch has no results", Needs: []string{"Batcher"}, run: func(t *probe) {
			c := backends.CapabilitiesOf(t.backend()).Batcher
			if a, b, d := c.GetMany(t.ctx, nil), c.SetMany(t.ctx, nil), c.DeleteMany(t.ctx, nil); len(a)+len(b)+len(d) != 0 {
				t.Errorf("%d, %d and %d results", len(a), len(b), len(d))
			}
		}},
		{Name: "BatchFailsAlone", Rule: "a bad key or TTL fails alone: the rest of its batch is served", Needs: []string{"Batcher"}, run: func(t *probe) {
			b := t.backend()
			c := backends.CapabilitiesOf(b).Batcher
			errs := t.results(3, c.SetMany(t.ctx, []backends.Item{
				{Key: key("good"), Value: payload("good", 20), TTL: hour}, {Key: keyCanary + "\n", Value: payload("x", 5), TTL: hour}, {Key: key("ttl"), Value: payload("x", 5)},
			}))
			if errs[0] != nil {
				t.Errorf("SetMany: the good item = %v", errs[0])
			}
			t.refusesKey("SetMany: the bad key", errs[1])
			t.failed("SetMany: the bad TTL", errs[2], backends.ErrTTL)
			got := c.GetMany(t.ctx, []string{keyCanary + "\n", key("good")})
			t.refusesKey("GetMany: the bad key", got[0].Err)
			t.same("GetMany", got[1].Entry.Value, payload("good", 20))
			t.misses(b, key("ttl"))
		}},
		{Name: "BatchRepeats", Rule: "of two items of a batch with one key, the later stays; each has its own TTL", Needs: []string{"Batcher"}, run: func(t *probe) {
			s := t.open()
			c := backends.CapabilitiesOf(s.Backend).Batcher
			for i, err := range t.results(4, c.SetMany(t.ctx, []backends.Item{
				{Key: key("k"), Value: payload("one", 20), TTL: hour}, {Key: key("brief"), Value: payload("b", 20), TTL: 200 * time.Millisecond},
				{Key: key("k"), Value: payload("two", 20), TTL: hour}, {Key: key("kept"), Value: payload("c", 20), TTL: backends.NoExpiry},
			})) {
				if err != nil {
					t.Errorf("SetMany: result %d = %v", i, err)
				}
			}
			t.holds(s.Backend, key("k"), payload("two", 20))
			t.ttlIs(s.Backend, key("kept"), backends.NoExpiry)
			t.expires(s, key("brief"), 200*time.Millisecond)
		}},
	}
}

func (t *probe) results(n int, errs []error) []error {
	t.Helper()
	if len(errs) != n {
		t.Fatalf("%d results for %d items", len(errs), n)
	}
	return errs
}

func entryCases() []Case {
	return []Case{
		{Name: "Entry", Rule: "GetEntry returns the value and, where the storage can tell, the TTL left", Needs: []string{"EntryReader", "EntryTTL"}, run: func(t *probe) {
			b := t.backend()
			c := backends.CapabilitiesOf(b).EntryReader
			for i, ttl := range []time.Duration{hour, backends.NoExpiry} {
				k := key(fmt.Sprint(i))
				t.set(b, k, payload("entry", 60), ttl)
				e, err := c.GetEntry(t.ctx, k)
				if err != nil {
					t.Fatalf("GetEntry = %v", err)
				}
				t.same("GetEntry", e.Value, payload("entry", 60))
				t.near(e.TTL, ttl)
			}
		}},
		{Name: "Touch", Rule: "Touch changes the TTL and not the value, and reports whether there is an entry", Needs: []string{"TTLer"}, run: func(t *probe) {
			s := t.open()
			c := backends.CapabilitiesOf(s.Backend).TTLer
			_, err := c.TTL(t.ctx, key("none"))
			t.failed("TTL of a missing entry", err, backends.ErrNotFound)
			if ok, err := c.Touch(t.ctx, key("none"), hour); ok || err != nil {
				t.Errorf("Touch of a missing entry = %t, %v", ok, err)
			}
			t.set(s.Backend, key("k"), payload("v", 30), hour)
			for _, ttl := range []time.Duration{2 * hour, backends.NoExpiry, hour, 200 * time.Millisecond} {
				if ttl == backends.NoExpiry && !t.harness.can("TouchNoExpiry") {
					t.permanent("Touch with NoExpiry", func() error { _, err := c.Touch(t.ctx, key("k"), ttl); return err }())
					continue
				}
				if ok, err := c.Touch(t.ctx, key("k"), ttl); !ok || err != nil {
					t.Errorf("Touch = %t, %v", ok, err)
				}
				t.holds(s.Backend, key("k"), payload("v", 30))
				if ttl >= hour {
					t.ttlIs(s.Backend, key("k"), ttl)
				}
			}
			t.expires(s, key("k"), 200*time.Millisecond)
		}},
	}
}

func (t *probe) permanent(what string, err error) {
	t.Helper()
	var e *backends.Error
	if !errors.As(err, &e) || e.Kind != backends.Permanent {
		t.Errorf("%s = %v, want a *backends.Error of kind Permanent", what, err)
	}
	t.clean(err)
}

func lockCases() []Case {
	return []Case{
		{Name: "Lock", Rule: "one owner at a time: others get ErrLocked, and only the owner's token releases", Needs: []string{"Locker"}, run: func(t *probe) {
			s := t.open()
			mine := backends.CapabilitiesOf(s.Backend).Locker
			theirs := backends.CapabilitiesOf(t.other(s)).Locker
			t.set(s.Backend, key("k"), payload("v", 10), hour)
			token, err := mine.Lock(t.ctx, key("k"), hour)
			if err != nil || len(token) < 22 {
				t.Fatalf("Lock gave a token of %d characters, %v; 128 random bits take 22 at least", len(token), err)
			}
			_, err = theirs.Lock(t.ctx, key("k"), hour)
			t.failed("Lock of a held lock", err, backends.ErrLocked)
			t.unlocksNothing("Unlock with another token", theirs, "00000000000000000000000000000000")
			_, err = theirs.Lock(t.ctx, key("k"), hour)
			t.failed("Lock of a lock that another token did not release", err, backends.ErrLocked)
			t.holds(s.Backend, key("k"), payload("v", 10))
			if ok, err := mine.Unlock(t.ctx, key("k"), token); !ok || err != nil {
				t.Errorf("Unlock = %t, %v", ok, err)
			}
			t.unlocksNothing("second Unlock", mine, token)
			again, err := theirs.Lock(t.ctx, key("k"), hour)
			if err != nil || again == token {
				t.Errorf("Lock after Unlock = %v, the same token: %t", err, again == token)
			}
		}},
		{Name: "LockContention", Rule: "of many that try at once, one gets the lock", Needs: []string{"Locker"}, run: func(t *probe) {
			c := backends.CapabilitiesOf(t.backend()).Locker
			var held atomic.Int32
			t.parallel(16, func(int) error {
				_, err := c.Lock(t.ctx, key("k"), hour)
				if err == nil {
					held.Add(1)
				} else if !errors.Is(err, backends.ErrLocked) {
					return err
				}
				return nil
			})
			if held.Load() != 1 {
				t.Errorf("%d hold the lock, want 1", held.Load())
			}
		}},
		{Name: "LockExpires", Rule: "a lock ends by itself, and its old token does not release the next owner's", Needs: []string{"Locker"}, run: func(t *probe) {
			s := t.open()
			c := backends.CapabilitiesOf(s.Backend).Locker
			old, err := c.Lock(t.ctx, key("k"), 200*time.Millisecond)
			if err != nil {
				t.Fatalf("Lock = %v", err)
			}
			if s.Advance != nil {
				s.Advance(time.Second)
			}
			if !eventually(3*time.Second+t.harness.Granularity, func() bool { _, err = c.Lock(t.ctx, key("k"), hour); return err == nil }) {
				t.Fatalf("the lock does not expire: %v", err)
			}
			t.unlocksNothing("Unlock with an expired token", c, old)
			_, err = c.Lock(t.ctx, key("k"), hour)
			t.failed("Lock of the next owner's lock", err, backends.ErrLocked)
			_, err = c.Lock(t.ctx, key("k"), -1)
			t.failed("Lock with a negative lease", err, backends.ErrTTL)
		}},
	}
}

// unlocksNothing checks the report of an Unlock with a token that holds nothing,
// if the storage can tell.
func (t *probe) unlocksNothing(what string, c backends.Locker, token string) {
	t.Helper()
	if ok, err := c.Unlock(t.ctx, key("k"), token); ok && t.harness.can("UnlockReport") || err != nil {
		t.Errorf("%s = %t, %v", what, ok, err)
	}
}

func scanCases() []Case {
	return []Case{
		{Name: "Scan", Rule: "a walk returns every key under the prefix, taken literally, and no other, and no lock", Needs: []string{"Scanner"}, run: func(t *probe) {
			b := t.backend()
			caps := backends.CapabilitiesOf(b)
			for _, prefix := range []string{"scan:", "s*an:", "s?an:", "[s]can:", `s\can:`} {
				for i := range 60 {
					t.set(b, prefix+fmt.Sprint(i), payload("v", 5), hour)
				}
			}
			if caps.Locker != nil {
				if _, err := caps.Locker.Lock(t.ctx, "scan:1", hour); err != nil {
					t.Fatalf("Lock = %v", err)
				}
			}
			for _, prefix := range []string{"scan:", "s*an:", "s?an:", "[s]can:", `s\can:`} {
				seen, pages := map[string]bool{}, 0
				for cursor := ""; pages == 0 || cursor != ""; pages++ {
					keys, next, err := caps.Scanner.Scan(t.ctx, prefix, cursor, 10)
					if err != nil || pages > 10_000 {
						t.Fatalf("page %d = %v", pages, err)
					}
					for _, k := range keys {
						seen[k] = true
					}
					cursor = next
				}
				if len(seen) != 60 {
					t.Errorf("a walk under %q found %d keys, want 60", prefix, len(seen))
				}
				for i := range 60 {
					if !seen[prefix+fmt.Sprint(i)] {
						t.Errorf("a key under %q is left out", prefix)
						break
					}
				}
			}
		}},
	}
}

func swapCases() []Case {
	return []Case{
		{Name: "Swap", Rule: "Swap replaces the value only if it is the one that was read, and keeps the TTL", Needs: []string{"Swapper"}, run: func(t *probe) {
			s := t.open()
			c := backends.CapabilitiesOf(s.Backend).Swapper
			one, two, three := payload("one", 40), payload("two", 4000), payload("three", 1)
			if ok, err := c.Swap(t.ctx, key("none"), nil, two); ok || err != nil {
				t.Errorf("Swap of a missing entry = %t, %v", ok, err)
			}
			t.misses(s.Backend, key("none"))
			for i, ttl := range []time.Duration{hour, backends.NoExpiry} {
				k := key(fmt.Sprint(i))
				t.set(s.Backend, k, one, ttl)
				if ok, err := c.Swap(t.ctx, k, two, three); ok || err != nil {
					t.Errorf("Swap over another value = %t, %v", ok, err)
				}
				t.holds(s.Backend, k, one)
				if ok, err := c.Swap(t.ctx, k, one, two); !ok || err != nil {
					t.Errorf("Swap = %t, %v", ok, err)
				}
				t.holds(s.Backend, k, two)
				t.ttlIs(s.Backend, k, ttl)
			}
			t.set(s.Backend, key("brief"), one, 300*time.Millisecond)
			if ok, err := c.Swap(t.ctx, key("brief"), one, two); !ok || err != nil {
				t.Errorf("Swap = %t, %v", ok, err)
			}
			t.expires(s, key("brief"), 300*time.Millisecond)
		}},
		{Name: "SwapOnce", Rule: "of concurrent Swaps from one value, exactly one succeeds", Needs: []string{"Swapper"}, run: func(t *probe) {
			b := t.backend()
			c := backends.CapabilitiesOf(b).Swapper
			t.oneWins(b, func(old, new []byte) (bool, error) { return c.Swap(t.ctx, key("k"), old, new) })
		}},
		{Name: "ReplaceOnce", Rule: "of concurrent Replaces of one value, exactly one succeeds", Needs: []string{"Replacer"}, run: func(t *probe) {
			b := t.backend()
			c := backends.CapabilitiesOf(b).Replacer
			t.oneWins(b, func(old, new []byte) (bool, error) { return c.Replace(t.ctx, key("k"), old, new, hour) })
		}},
		{Name: "Replace", Rule: "Replace replaces the value only if it is the one that was read, with a TTL of its own, and else changes nothing", Needs: []string{"Replacer"}, run: func(t *probe) {
			s := t.open()
			c := backends.CapabilitiesOf(s.Backend).Replacer
			one, two, three := payload("one", 40), payload("two", 4000), payload("three", 1)
			if ok, err := c.Replace(t.ctx, key("none"), nil, two, hour); ok || err != nil {
				t.Errorf("Replace of a missing entry = %t, %v", ok, err)
			}
			t.misses(s.Backend, key("none"))
			for i, ttl := range []time.Duration{hour, backends.NoExpiry, 3 * hour} {
				k := key(fmt.Sprint(i))
				t.set(s.Backend, k, one, 2*hour)
				if ok, err := c.Replace(t.ctx, k, two, three, ttl); ok || err != nil {
					t.Errorf("Replace of another value = %t, %v", ok, err)
				}
				_, err := c.Replace(t.ctx, k, one, two, 0)
				t.failed("Replace with TTL 0", err, backends.ErrTTL)
				t.holds(s.Backend, k, one)
				t.ttlIs(s.Backend, k, 2*hour)
				if ok, err := c.Replace(t.ctx, k, one, two, ttl); !ok || err != nil {
					t.Errorf("Replace = %t, %v", ok, err)
				}
				t.holds(s.Backend, k, two)
				t.ttlIs(s.Backend, k, ttl)
			}
			t.set(s.Backend, key("kept"), one, backends.NoExpiry)
			if ok, err := c.Replace(t.ctx, key("kept"), one, two, 300*time.Millisecond); !ok || err != nil {
				t.Errorf("Replace = %t, %v", ok, err)
			}
			t.expires(s, key("kept"), 300*time.Millisecond)
		}},
		{Name: "SwapMany", Rule: "SwapMany swaps each entry for itself: those that are still what was read, with their TTL kept", Needs: []string{"BatchSwapper"}, run: func(t *probe) {
			b := t.backend()
			c := backends.CapabilitiesOf(b).BatchSwapper
			if got := c.SwapMany(t.ctx, nil); len(got) != 0 {
				t.Errorf("SwapMany of nothing has %d results", len(got))
			}
			one, two := payload("one", 40), payload("two", 4000)
			t.set(b, key("same"), one, hour)
			t.set(b, key("kept"), one, backends.NoExpiry)
			t.set(b, key("newer"), two, hour)
			got := c.SwapMany(t.ctx, []backends.SwapItem{
				{Key: key("same"), Old: one, New: two}, {Key: key("newer"), Old: one, New: one},
				{Key: "", Old: one, New: two}, {Key: key("none"), Old: nil, New: two}, {Key: key("kept"), Old: one, New: two},
			})
			if len(got) != 5 {
				t.Fatalf("SwapMany of 5 items has %d results", len(got))
			}
			for i, swapped := range []bool{true, false, false, false, true} {
				if got[i].Swapped != swapped || (got[i].Err != nil) != (i == 2) {
					t.Errorf("result %d = %t, %v, want %t", i, got[i].Swapped, got[i].Err, swapped)
				}
			}
			t.holds(b, key("same"), two)
			t.holds(b, key("newer"), two)
			t.holds(b, key("kept"), two)
			t.ttlIs(b, key("same"), hour)
			t.ttlIs(b, key("kept"), backends.NoExpiry)
			t.misses(b, key("none"))
		}},
		{Name: "RewriteMany", Rule: "RewriteMany gives each entry that there is to the caller once, and keeps what he leaves and the TTL of what it replaces", Needs: []string{"Rewriter"}, run: (*probe).rewriteMany},
	}
}

// oneWins lets many replace the value of key("k") at once. The one whose call
// reports that it did has its value stored.
func (t *probe) oneWins(b backends.Backend, replace func(old, new []byte) (bool, error)) {
	start := payload("start", 20)
	t.set(b, key("k"), start, hour)
	var won, winner atomic.Int32
	t.parallel(12, func(g int) error {
		ok, err := replace(start, payload(fmt.Sprint(g), 20))
		if ok {
			won.Add(1)
			winner.Store(int32(g))
		}
		return err
	})
	if won.Load() != 1 {
		t.Errorf("%d of 12 succeeded, want 1", won.Load())
	}
	t.holds(b, key("k"), payload(fmt.Sprint(winner.Load()), 20))
}
