package memcachedbackend_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/memcachedbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// ticks returns what the server says of the life of an entry, in ticks of its
// clock.
func ticks(t *testing.T, s *testenv.MemcachedServer, key string) int {
	t.Helper()
	answer := s.Do("mg " + key + " t")
	var n int
	if _, err := fmt.Sscanf(answer, "HD t%d", &n); err != nil {
		t.Fatalf("mg answered %q", answer)
	}
	return n
}

// Rule: n seconds are n+1 ticks, of which the first may be over at once; more
// than 30 days are 30 days, and no expiry is none. Set, SetMany, Touch and Swap
// agree.
func TestTTLsOnTheServer(t *testing.T) {
	s := testenv.Memcached(t, nil)
	b := open(t, s.Addr(), nil)
	const day = 24 * time.Hour
	for _, tc := range []struct {
		ttl   time.Duration
		ticks int
	}{
		{1, 2}, {time.Millisecond, 2}, {time.Second, 2}, {time.Second + 1, 3}, {1500 * time.Millisecond, 3}, {time.Minute, 61},
		{10 * time.Minute, 601}, {time.Hour, 3601}, {30*day - time.Second, 2592000}, {30 * day, 2592000}, {30*day + 1, 2592000},
		{31 * day, 2592000}, {365 * day, 2592000}, {math.MaxInt64 - 1, 2592000}, {backends.NoExpiry, -1},
	} {
		t.Run(tc.ttl.String(), func(t *testing.T) {
			check := func(what, key string) {
				t.Helper()
				got := ticks(t, s, key)
				if got != tc.ticks && got != tc.ticks-1 || tc.ticks < 0 && got >= 0 {
					t.Errorf("%s: the server says %d, want %d", what, got, tc.ticks)
				}
				left, err := b.TTL(t.Context(), key)
				want := time.Duration(got-1) * time.Second
				if got < 0 {
					want = backends.NoExpiry
				}
				if err != nil || left != want && left != want-time.Second && left != time.Second {
					t.Errorf("%s: TTL = %v, %v, want %v", what, left, err, want)
				}
			}
			if err := b.Set(t.Context(), "set", []byte("v"), tc.ttl); err != nil {
				t.Fatal(err)
			}
			check("Set", "set")
			if errs := b.SetMany(t.Context(), []backends.Item{{Key: "many", Value: []byte("v"), TTL: tc.ttl}}); errs[0] != nil {
				t.Fatal(errs[0])
			}
			check("SetMany", "many")
			set(t, b, "touch", "v")
			if ok, err := b.Touch(t.Context(), "touch", tc.ttl); !ok || err != nil {
				t.Fatal(ok, err)
			}
			check("Touch", "touch")
			if ok, err := b.Swap(t.Context(), "set", []byte("v"), []byte("w")); !ok || err != nil {
				t.Fatal(ok, err)
			}
			check("Swap", "set")
			if e, err := b.GetEntry(t.Context(), "set"); err != nil || string(e.Value) != "w" || (e.TTL == backends.NoExpiry) != (tc.ticks < 0) {
				t.Errorf("GetEntry = %+v, %v", e, err)
			}
		})
	}
}

// Rule: Swap keeps the flags that another client gave the entry.
func TestSwapKeepsFlags(t *testing.T) {
	s := testenv.Memcached(t, nil)
	b := open(t, s.Addr(), nil)
	s.Do("set k 42 0 3\r\nold")
	if ok, err := b.Swap(t.Context(), "k", []byte("old"), []byte("new")); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if got := s.Do("get k"); got != "VALUE k 42 3\r\nnew\r\nEND\r\n" {
		t.Errorf("the server holds %q", got)
	}
}

// Rule: keys are 1 to 250 bytes of printable ASCII without spaces; anything
// else is a *KeyError that does not repeat it, from every operation, and
// nothing is sent.
func TestKeyRules(t *testing.T) {
	s := testenv.Memcached(t, nil)
	b, network := through(t, memcachedbackend.Options{}, s)
	before := len(network[s.Addr()].Sent())
	refused := []string{"", secret + strings.Repeat("k", 245), secret + " b", secret + "\tb", secret + "\r\nflush_all", secret + "\x00", secret + "\x7f",
		secret + "é", secret + "漢", secret + "\u00a0", secret + "\xff", secret + ":lock"}
	for _, key := range refused {
		for name, call := range operations {
			err := call(t.Context(), b, key)
			var bad *backends.KeyError
			if !errors.As(err, &bad) || strings.Contains(err.Error(), secret) {
				t.Errorf("%s(%q) = %v, want a *KeyError without the key", name, key, err)
			}
		}
		if b.KeyRules().Check(key) == nil {
			t.Errorf("KeyRules allow %q", key)
		}
	}
	if sent := network[s.Addr()].Sent()[before:]; slices.Contains(strings.Fields(string(sent)), secret) || strings.Contains(string(sent), "flush") {
		t.Error("a part of a refused key was sent")
	}
	for _, key := range []string{"a", strings.Repeat("k", 250), "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"} {
		set(t, b, key, "v")
		want(t, b, key, "v")
	}
}

// Rule: the lock of a key of any length is one lock; it is no entry.
func TestLockNames(t *testing.T) {
	s := testenv.Memcached(t, nil)
	b := open(t, s.Addr(), nil)
	for n := 240; n <= 250; n++ {
		key := strings.Repeat("k", n)
		token, err := b.Lock(t.Context(), key, time.Hour)
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if _, err := b.Lock(t.Context(), key, time.Hour); !errors.Is(err, backends.ErrLocked) {
			t.Errorf("%d bytes: second Lock = %v", n, err)
		}
		if got := s.Do("get " + key + ":lock"); n <= 245 && !strings.Contains(got, token) {
			t.Errorf("%d bytes: the lock is not at key:lock", n)
		}
		if ok, err := b.Exists(t.Context(), key); ok || err != nil {
			t.Errorf("%d bytes: Exists = %t, %v", n, ok, err)
		}
		if ok, err := b.Unlock(t.Context(), key, token); !ok || err != nil {
			t.Errorf("%d bytes: Unlock = %t, %v", n, ok, err)
		}
	}
}

// Rule: a lock whose answer was lost is taken under the same token.
func TestLockWithALostAnswer(t *testing.T) {
	var owner string
	adds := 0
	addr, _ := liar(t, func(line string) string {
		switch {
		case strings.HasPrefix(line, "add k:lock 0 61 32"):
			return ""
		case strings.HasPrefix(line, "gets k:lock"):
			return fmt.Sprintf("VALUE k:lock 0 32 7\r\n%s\r\nEND\r\n", owner)
		}
		if adds++; adds == 1 { // the token: stored, and the answer is lost
			owner = line
			return hangUp
		}
		return "NOT_STORED\r\n"
	})
	b := open(t, addr, nil)
	token, err := b.Lock(t.Context(), "k", time.Minute)
	if err != nil || token != owner || adds != 2 {
		t.Errorf("Lock = %v after %d attempts, the owner's token: %t", err, adds, token == owner)
	}
	if _, err := b.Lock(t.Context(), "k", time.Minute); !errors.Is(err, backends.ErrLocked) {
		t.Errorf("Lock of a held lock = %v", err)
	}
}

// Rule: a server without CAS numbers releases no lock and swaps nothing.
func TestServerWithoutCAS(t *testing.T) {
	s := testenv.Memcached(t, &testenv.MemcachedOptions{Args: []string{"-C"}})
	b := open(t, s.Addr(), nil)
	set(t, b, "k", "old")
	if _, err := b.Swap(t.Context(), "k", []byte("old"), []byte("new")); kindOf(t, err) != "permanent" {
		t.Errorf("Swap = %v", err)
	}
	token, err := b.Lock(t.Context(), "k", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Unlock(t.Context(), "k", token); kindOf(t, err) != "permanent" {
		t.Errorf("Unlock = %v", err)
	}
}

// Rule: what the server cannot hold is TooLarge, whoever notices, and what it
// has no memory for is Overload; neither is an outage.
func TestLimitsOfTheServer(t *testing.T) {
	s := testenv.Memcached(t, &testenv.MemcachedOptions{Args: []string{"-M", "-m", "8"}})
	b := open(t, s.Addr(), nil)
	for _, n := range []int{1 << 20, 1<<20 - 50, 1<<20 + 1} {
		err := b.Set(t.Context(), "k", make([]byte, n), time.Hour)
		if kindOf(t, err) != "too large" || backends.IsOutage(err) {
			t.Errorf("Set of %d bytes = %v, want too large", n, err)
		}
		errs := b.SetMany(t.Context(), []backends.Item{{Key: "a", Value: []byte("v"), TTL: time.Hour}, {Key: "k", Value: make([]byte, n), TTL: time.Hour}, {Key: "b", Value: []byte("v"), TTL: time.Hour}})
		if errs[0] != nil || kindOf(t, errs[1]) != "too large" || errs[2] != nil {
			t.Errorf("SetMany with %d bytes = %v", n, errs)
		}
	}
	if err := b.Set(t.Context(), "k", make([]byte, 1<<20-100), time.Hour); err != nil {
		t.Errorf("a value just below the limit = %v", err)
	}
	var err error
	for i := 0; i < 500 && err == nil; i++ {
		err = b.Set(t.Context(), fmt.Sprint("fill", i), make([]byte, 100<<10), time.Hour)
	}
	if kindOf(t, err) != "overload" {
		t.Errorf("a full server = %v, want overload", err)
	}
}
