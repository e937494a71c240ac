package secure_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/secure"
)

// turning is a source whose keyring and error a test sets.
type turning struct {
	mu    sync.Mutex
	ring  *keys.Keyring
	err   error
	panic bool
	asked int
}

func (s *turning) RefreshInterval() time.Duration { return time.Second }

func (s *turning) Keyring(ctx context.Context) (*keys.Keyring, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked++; s.panic {
		panic("hunter2")
	}
	return s.ring, s.err
}

func (s *turning) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// turn sets the outcome and lets two intervals pass.
func (s *turning) turn(ring *keys.Keyring, err error) {
	s.mu.Lock()
	s.ring, s.err = ring, err
	s.mu.Unlock()
	time.Sleep(2 * time.Second)
	synctest.Wait()
}

func ring(t testing.TB, digits string) *keys.Keyring {
	t.Helper()
	var all []keys.MasterKey
	for _, d := range strings.Split(digits, "") {
		all = append(all, key(t, d))
	}
	r, err := keys.NewKeyring(all[0], all[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// following runs f on a cache that follows a source, in fake time.
func following(t *testing.T, digits string, change func(*secure.Options), f func(*testing.T, *secure.Cache, *turning, *fake, *logs)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, backend, log := &turning{ring: ring(t, digits)}, newFake(), new(logs)
		c := open(t, backend, func(o *secure.Options) {
			o.Keyring, o.MasterKey, o.Logger = s, keys.MasterKey{}, log.logger()
			if change != nil {
				change(o)
			}
		})
		f(t, c, s, backend, log)
		c.Close()
	})
}

func sealedUnder(t *testing.T, f *fake, k string) string {
	t.Helper()
	for _, digit := range []string{"1", "2", "3", "4"} {
		other := open(t, f, func(o *secure.Options) { o.MasterKey, o.NoL1 = key(t, digit), true })
		var u user
		if found, err := other.Get(t.Context(), k, &u); err == nil && found {
			return digit
		}
	}
	return "none"
}

func TestAChangedKeyringIsTakenOver(t *testing.T) {
	following(t, "1", nil, func(t *testing.T, c *secure.Cache, s *turning, f *fake, log *logs) {
		set := func(k, want string) {
			t.Helper()
			if err := c.Set(t.Context(), k, alice); err != nil {
				t.Fatal(err)
			}
			if got := sealedUnder(t, f, k); got != want {
				t.Errorf("%s is sealed under key %s, want %s", k, got, want)
			}
		}
		check := func(ks ...string) {
			t.Helper()
			for _, k := range ks {
				var u user
				if found, err := c.Get(t.Context(), k, &u); !found || err != nil || u != alice {
					t.Errorf("%s: %v, %v, %v", k, u, found, err)
				}
			}
		}
		set("a", "1")
		check("a")
		s.turn(ring(t, "12"), nil) // staged
		set("b", "1")
		check("a", "b")
		s.turn(ring(t, "21"), nil) // promoted
		set("c", "2")
		check("a", "b", "c")
		// Rule: a key keeps its count of reads; the seals are of the current key.
		stats := c.Stats()
		first, _ := key(t, "1").Fingerprint(keys.DefaultTenant)
		if stats.Seals != 1 || stats.KeyringReloads != 2 || stats.KeyringFailures != 0 {
			t.Errorf("%d seals, %d reloads, %d failures, want 1, 2, 0", stats.Seals, stats.KeyringReloads, stats.KeyringFailures)
		}
		if k := stats.Keys; len(k) != 2 || k[1].Fingerprint != first || k[0].Opened != 1 || k[1].Opened != 5 {
			t.Errorf("the keys served %+v, want 1 and 5", k)
		}
		s.turn(ring(t, "2"), nil) // retired
		var u user
		_, err := c.Get(t.Context(), "a", &u)
		onlyAuth(t, "an entry of a retired key, which this process had in memory", err)
		check("c")
		if text := log.String(); strings.Count(text, "keyring reloaded") != 3 {
			t.Errorf("the log: %s", text)
		}
	})
}

func TestABadKeyringIsReportedAndTheOneInUseKept(t *testing.T) {
	following(t, "1", nil, func(t *testing.T, c *secure.Cache, s *turning, f *fake, log *logs) {
		good := s.ring
		broken := errors.New("the file is broken")
		s.turn(ring(t, "2"), broken)
		s.turn(nil, broken)
		if n := strings.Count(log.String(), "the file is broken"); n != 1 {
			t.Errorf("reported %d times, want once", n)
		}
		if err := c.Set(t.Context(), "k", alice); err != nil {
			t.Fatal(err)
		}
		if got := sealedUnder(t, f, "k"); got != "1" {
			t.Errorf("sealed under key %s, want 1", got)
		}
		time.Sleep(time.Minute)
		if n := strings.Count(log.String(), "the file is broken"); n != 2 {
			t.Errorf("after a minute it was reported %d times, want twice", n)
		}
		s.turn(nil, nil)
		if !strings.Contains(log.String(), "returned none") {
			t.Errorf("no keyring and no error: %s", log)
		}
		s.mu.Lock()
		s.panic = true
		s.mu.Unlock()
		s.turn(nil, nil)
		if text := log.String(); !strings.Contains(text, "panicked") || strings.Contains(text, "hunter2") {
			t.Errorf("a panic: %s", text)
		}
		s.mu.Lock()
		s.panic = false
		s.mu.Unlock()
		s.turn(good, nil)
		if stats := c.Stats(); stats.KeyringReloads != 0 || stats.KeyringFailures == 0 {
			t.Errorf("%d reloads, %d failures", stats.KeyringReloads, stats.KeyringFailures)
		}
		s.turn(ring(t, "21"), nil)
		if stats := c.Stats(); stats.KeyringReloads != 1 {
			t.Errorf("a good one after bad ones: %d reloads", stats.KeyringReloads)
		}
	})
}

// Rule: entries under a key that stays survive in the process; those under one
// that goes are misses where there is no backend to ask.
func TestL1OnlyAcrossKeyrings(t *testing.T) {
	only := func(o *secure.Options) { o.Backend, o.L1Only = nil, true }
	following(t, "1", only, func(t *testing.T, c *secure.Cache, s *turning, _ *fake, _ *logs) {
		if err := c.Set(t.Context(), "k", alice); err != nil {
			t.Fatal(err)
		}
		var u user
		s.turn(ring(t, "21"), nil)
		if found, err := c.Get(t.Context(), "k", &u); !found || err != nil || u != alice {
			t.Errorf("after a promotion: %v, %v", found, err)
		}
		s.turn(ring(t, "2"), nil)
		if n := c.Stats().L1.Entries; n != 0 {
			t.Errorf("%d entries are left", n)
		}
		if found, err := c.Get(t.Context(), "k", &u); found || err != nil {
			t.Errorf("after its key is gone: %v, %v", found, err)
		}
	})
}

// Rule: closing ends the following; a source that never changes is asked once.
func TestFollowingEnds(t *testing.T) {
	following(t, "1", nil, func(t *testing.T, c *secure.Cache, s *turning, _ *fake, _ *logs) {
		s.turn(s.ring, nil)
		c.Close()
		before := s.count()
		time.Sleep(time.Minute)
		if after := s.count(); before < 2 || after != before {
			t.Errorf("asked %d times, then %d", before, after)
		}
	})
}

// hanging does not answer until its context ends.
type hanging struct {
	first *keys.Keyring
	asked atomic.Int64
}

func (s *hanging) RefreshInterval() time.Duration { return time.Second }

func (s *hanging) Keyring(ctx context.Context) (*keys.Keyring, error) {
	if s.asked.Add(1) == 1 {
		return s.first, nil
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestASourceThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, log := &hanging{first: ring(t, "1")}, new(logs)
		c := open(t, newFake(), func(o *secure.Options) { o.Keyring, o.MasterKey, o.Logger = s, keys.MasterKey{}, log.logger() })
		time.Sleep(10 * time.Second)
		start := time.Now()
		c.Close()
		if d := time.Since(start); d > 0 || log.String() != "" {
			t.Errorf("Close waited %v for the source; log %q", d, log)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s, log := &hanging{first: ring(t, "1")}, new(logs)
		c := open(t, newFake(), func(o *secure.Options) { o.Keyring, o.MasterKey, o.Logger = s, keys.MasterKey{}, log.logger() })
		time.Sleep(40 * time.Second)
		if n := s.asked.Load(); n < 3 || !strings.Contains(log.String(), "deadline") {
			t.Errorf("asked %d times in 40 s, want more than twice; log %q", n, log)
		}
		c.Close()
	})
}

// Rule: whoever seals after the swap seals under the new key, under load too.
// The race detector watches the swap.
func TestSwapUnderLoad(t *testing.T) {
	following(t, "1", nil, func(t *testing.T, c *secure.Cache, s *turning, f *fake, _ *logs) {
		stop := make(chan struct{})
		var workers sync.WaitGroup
		for range 4 {
			workers.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(time.Millisecond):
					}
					var u user
					if err := c.Set(t.Context(), "k", alice); err != nil {
						t.Error(err)
					}
					if found, err := c.Get(t.Context(), "k", &u); !found || err != nil {
						t.Error(found, err)
					}
				}
			})
		}
		for _, digits := range []string{"12", "21", "213", "321", "3214", "4321"} {
			s.turn(ring(t, digits), nil)
			if err := c.Set(t.Context(), "mine", alice); err != nil {
				t.Fatal(err)
			}
			if got := sealedUnder(t, f, "mine"); got != digits[:1] {
				t.Errorf("sealed under key %s, want %s", got, digits[:1])
			}
		}
		close(stop)
		workers.Wait()
	})
}
