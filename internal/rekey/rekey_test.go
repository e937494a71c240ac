package rekey_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/memorybackend"
	"github.com/cachekit-io/cachekit-go/internal/envelope"
	"github.com/cachekit-io/cachekit-go/internal/rekey"
	"github.com/cachekit-io/cachekit-go/internal/store"
	"github.com/cachekit-io/cachekit-go/keys"
)

// fleet is a storage with the keys of a rotation: old, then new.
type fleet struct {
	backend  *memorybackend.Backend
	store    *store.Store
	old, new keys.MasterKey
}

func newFleet(t testing.TB) *fleet {
	t.Helper()
	b := memorybackend.New(nil)
	t.Cleanup(func() { b.Close() })
	return &fleet{b, store.New(b), masterKey(t, "a"), masterKey(t, "b")}
}

func masterKey(t testing.TB, digit string) keys.MasterKey {
	t.Helper()
	k, err := keys.Hex(strings.Repeat(digit, 64))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func ring(t testing.TB, current keys.MasterKey, previous ...keys.MasterKey) *keys.Keyring {
	t.Helper()
	r, err := keys.NewKeyring(current, previous...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func box(t testing.TB, tenant string, current keys.MasterKey, previous ...keys.MasterKey) *envelope.Box {
	t.Helper()
	b, err := envelope.New(ring(t, current, previous...), envelope.Config{Tenant: tenant})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fill stores n entries of tenant under key, named "prefix:i", with a TTL of an
// hour, but for every tenth, which has none.
func (f *fleet) fill(t testing.TB, key keys.MasterKey, tenant, prefix string, n int) {
	t.Helper()
	b := box(t, tenant, key)
	for i := range n {
		ttl := time.Hour
		if i%10 == 0 {
			ttl = backends.NoExpiry
		}
		name := fmt.Sprintf("%s:%d", prefix, i)
		if err := f.store.Put(t.Context(), b.Seal(time.Now(), name, []byte("\xa5value")), ttl); err != nil {
			t.Fatal(err)
		}
	}
}

func (f *fleet) config(t testing.TB) rekey.Config {
	return rekey.Config{
		Store: f.store, Ring: ring(t, f.new, f.old), Page: 20, Reseal: true, Verify: true,
		Tenant: func(key string) (string, bool) { return "default", true },
	}
}

// opens counts the entries that open under key alone.
func (f *fleet) opens(t testing.TB, key keys.MasterKey, tenant, prefix string, n int) (count int) {
	t.Helper()
	b := box(t, tenant, key)
	for i := range n {
		got, found, err := f.store.Get(t.Context(), fmt.Sprintf("%s:%d", prefix, i), false)
		if err != nil || !found {
			t.Fatalf("entry %d: %t, %v", i, found, err)
		}
		if _, _, err := b.Open(nil, got.Received); err == nil {
			count++
		}
	}
	return count
}

func TestResealsWhatIsOld(t *testing.T) {
	f := newFleet(t)
	f.fill(t, f.old, "default", "old", 100)
	f.fill(t, f.new, "default", "new", 50)
	if err := f.backend.Set(t.Context(), "planted", []byte("\xa5plain"), time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := f.backend.Set(t.Context(), "frame", []byte("CK\x03 some frame of another SDK, long"), time.Hour); err != nil {
		t.Fatal(err)
	}
	cfg := f.config(t)
	cfg.Ages = true
	var failed []string
	cfg.Failed = func(key string, err error) {
		if !errors.Is(err, envelope.ErrAuth) {
			t.Errorf("%s failed with %v", key, err)
		}
		failed = append(failed, key)
	}
	r, err := rekey.Walk(t.Context(), cfg)
	if err != nil || !r.Done || r.Cursor != "" {
		t.Fatalf("Walk = %+v, %v", r, err)
	}
	if r.Seen != 152 || r.Resealed != 100 || r.Unauthenticated != 2 || r.Left != 0 || r.Failed != 0 || r.Old() != 100 {
		t.Errorf("Walk = %+v", r)
	}
	if r.NoExpiry != 15 || r.NoExpiryOld != 10 {
		t.Errorf("%d entries without expiry, %d of them old, want 15 and 10", r.NoExpiry, r.NoExpiryOld)
	}
	if r.LookLike[rekey.LooksPlaintext] != 1 || r.LookLike[rekey.LooksPython] != 1 || len(failed) != 2 {
		t.Errorf("guesses %v, failed %v", r.LookLike, failed)
	}
	if len(r.Keys) != 2 || r.Keys[0].Place != 0 || r.Keys[0].Entries != 50 || r.Keys[1].Entries != 100 {
		t.Errorf("keys %+v", r.Keys)
	}
	if n := f.opens(t, f.new, "default", "old", 100); n != 100 {
		t.Errorf("%d of 100 entries open under the new key", n)
	}
	for key, want := range map[string]bool{"old:0": true, "old:1": false} {
		ttl, err := f.backend.TTL(t.Context(), key)
		if err != nil || (ttl == backends.NoExpiry) != want || !want && (ttl > time.Hour || ttl < 50*time.Minute) {
			t.Errorf("TTL of %s = %v, %v: it must stay as it was", key, ttl, err)
		}
	}
	again, err := rekey.Walk(t.Context(), cfg)
	if err != nil || again.Resealed != 0 || again.Old() != 0 {
		t.Errorf("a second walk = %+v, %v: nothing is left to do", again, err)
	}
}

func TestCountingChangesNothing(t *testing.T) {
	f := newFleet(t)
	f.fill(t, f.old, "default", "old", 30)
	cfg := f.config(t)
	cfg.Reseal = false
	r, err := rekey.Walk(t.Context(), cfg)
	if err != nil || r.Left != 30 || r.Resealed != 0 {
		t.Fatalf("Walk = %+v, %v", r, err)
	}
	if n := f.opens(t, f.old, "default", "old", 30); n != 30 {
		t.Errorf("%d of 30 entries are as they were", n)
	}
}

func TestTenantsByKey(t *testing.T) {
	f := newFleet(t)
	f.fill(t, f.old, "acme", "a", 10)
	f.fill(t, f.old, "globex", "g", 10)
	f.fill(t, f.old, "other", "o", 10)
	cfg := f.config(t)
	cfg.Tenant = func(key string) (string, bool) {
		tenant, ok := map[string]string{"a": "acme", "g": "globex"}[key[:1]]
		return tenant, ok
	}
	r, err := rekey.Walk(t.Context(), cfg)
	if err != nil || r.Resealed != 20 || r.Skipped != 10 || r.Seen != 20 {
		t.Fatalf("Walk = %+v, %v", r, err)
	}
	if a, g, o := f.opens(t, f.new, "acme", "a", 10), f.opens(t, f.new, "globex", "g", 10), f.opens(t, f.old, "other", "o", 10); a+g+o != 30 {
		t.Errorf("%d, %d, %d of 10 entries open as they should", a, g, o)
	}
}

// A newer write between the read and the swap is never overwritten.
func TestNewerWritesStay(t *testing.T) {
	t.Run("in a first chunk", func(t *testing.T) { newerWritesStay(t, 3, 0) })
	t.Run("in one that is read and replaced in one", func(t *testing.T) { newerWritesStay(t, 100, 97) })
}

// newerWritesStay walks n entries in order while two are written from the first on.
func newerWritesStay(t *testing.T, n, first int) {
	f := newFleet(t)
	f.fill(t, f.old, "default", "old", n)
	newer := map[string]*envelope.Box{fmt.Sprint("old:", first): box(t, "default", f.new), fmt.Sprint("old:", first+1): box(t, "default", f.old)}
	var done sync.Map
	f.backend.Intercept(func(_ context.Context, op, key string) error {
		if b := newer[key]; b != nil && op == "swap" {
			if _, loaded := done.LoadOrStore(key, true); loaded {
				return nil
			}
			if err := f.backend.Peer().Set(context.Background(), key, b.Seal(time.Now(), key, []byte("\xa5newer")).Bytes(), time.Hour); err != nil {
				t.Error(err)
			}
		}
		return nil
	})
	cfg := f.config(t)
	cfg.Parallel = 1
	cfg.Keys = func(yield func(string) bool) error {
		for i := range n {
			yield(fmt.Sprint("old:", i))
		}
		return nil
	}
	r, err := rekey.Walk(t.Context(), cfg)
	if err != nil || r.Resealed != uint64(n-1) || r.Changed != 1 || r.Left != 0 || r.Seen != uint64(n) || r.Old() != uint64(n) {
		t.Fatalf("Walk = %+v, %v", r, err)
	}
	b := box(t, "default", f.new)
	for i, want := range []string{"\xa5newer", "\xa5newer", "\xa5value"} {
		got, _, err := f.store.Get(t.Context(), fmt.Sprint("old:", first+i), false)
		if err != nil {
			t.Fatal(err)
		}
		if doc, _, err := b.Open(nil, got.Received); err != nil || string(doc) != want {
			t.Errorf("entry %d holds %q, %v, want %q", i, doc, err, want)
		}
	}
}

func TestStopAndResume(t *testing.T) {
	for name, listed := range map[string]bool{"scan": false, "list": true} {
		f := newFleet(t)
		f.fill(t, f.old, "default", "old", 500)
		cfg := f.config(t)
		cfg.Parallel = 3
		if listed {
			cfg.Keys = func(yield func(string) bool) error {
				for i := range 500 {
					if !yield(fmt.Sprint("old:", i)) {
						break
					}
				}
				return nil
			}
		}
		resealed, walks := uint64(0), 0
		for done := false; !done && walks < 50; walks++ {
			ctx, cancel := context.WithCancel(t.Context())
			cfg.Progress = func(r rekey.Report) {
				if r.Resealed >= 60 {
					cancel()
				}
			}
			r, err := rekey.Walk(ctx, cfg)
			cancel()
			if err != nil {
				t.Fatalf("%s: Walk = %v", name, err)
			}
			resealed, done, cfg.Cursor = resealed+r.Resealed, r.Done, r.Cursor
		}
		if resealed != 500 || walks < 3 {
			t.Errorf("%s: %d of 500 entries were replaced, in %d walks", name, resealed, walks)
		}
		if n := f.opens(t, f.new, "default", "old", 500); n != 500 {
			t.Errorf("%s: %d of 500 entries open under the new key", name, n)
		}
	}
}

func TestOutagesEndTheWalk(t *testing.T) {
	f := newFleet(t)
	f.fill(t, f.old, "default", "old", 100)
	var n atomic.Int32
	f.backend.Intercept(func(_ context.Context, op, key string) error {
		if n.Add(1) > 150 && op == "swap" {
			return &backends.Error{Op: op, Backend: "memory", Kind: backends.Transient}
		}
		return nil
	})
	cfg := f.config(t)
	cfg.Parallel = 1
	r, err := rekey.Walk(t.Context(), cfg)
	if !backends.IsOutage(err) || r.Done || r.Failed == 0 || r.Resealed == 0 {
		t.Fatalf("Walk = %+v, %v, want an outage", r, err)
	}
	f.backend.Intercept(nil)
	cfg.Cursor = r.Cursor
	if r, err = rekey.Walk(t.Context(), cfg); err != nil || !r.Done {
		t.Fatalf("Walk = %+v, %v", r, err)
	}
	if n := f.opens(t, f.new, "default", "old", 100); n != 100 {
		t.Errorf("%d of 100 entries open under the new key", n)
	}
}

func TestStoragesThatCannot(t *testing.T) {
	f := newFleet(t)
	cfg := f.config(t)
	cfg.Store = store.New(struct{ backends.Backend }{f.backend})
	if _, err := rekey.Walk(t.Context(), cfg); !errors.Is(err, rekey.ErrCannotSwap) {
		t.Errorf("Walk = %v, want ErrCannotSwap", err)
	}
	cfg.Reseal = false
	if _, err := rekey.Walk(t.Context(), cfg); !errors.Is(err, rekey.ErrCannotScan) {
		t.Errorf("Walk = %v, want ErrCannotScan", err)
	}
	cfg = f.config(t)
	cfg.Keys, cfg.Cursor = func(func(string) bool) error { return nil }, "x"
	if _, err := rekey.Walk(t.Context(), cfg); !errors.Is(err, rekey.ErrCursor) {
		t.Errorf("Walk = %v, want ErrCursor", err)
	}
}

func TestRateLimit(t *testing.T) {
	f := newFleet(t)
	f.fill(t, f.old, "default", "old", 40)
	cfg := f.config(t)
	cfg.Rate = 100
	start := time.Now()
	if r, err := rekey.Walk(t.Context(), cfg); err != nil || r.Resealed != 40 {
		t.Fatalf("Walk = %+v, %v", r, err)
	}
	if d := time.Since(start); d < 250*time.Millisecond {
		t.Errorf("40 entries at 100 a second took %v", d)
	}
}
