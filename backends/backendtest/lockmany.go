package backendtest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

func lockManyCases() []Case {
	needs := []string{"Locker", "BatchLocker"}
	return []Case{
		{Name: "LockMany", Rule: "of the locks of a batch, each that is free is taken, under a token of its own; one that is held, or comes again, is ErrLocked", Needs: needs, run: (*probe).lockMany},
		{Name: "UnlockMany", Rule: "of the locks of a batch, those that are held under their tokens are released, each once, and no other", Needs: needs, run: (*probe).unlockMany},
		{Name: "LockManyExpires", Rule: "the locks of a batch end by themselves, and their old tokens do not release the next owner's", Needs: needs, run: (*probe).lockManyExpires},
		{Name: "LockManyContention", Rule: "of many batches at once with the same keys in any order, each lock is taken by one", Needs: needs, run: (*probe).lockManyContention},
	}
}

func (t *probe) lockMany() {
	s := t.open()
	c := backends.CapabilitiesOf(s.Backend).BatchLocker
	theirs := backends.CapabilitiesOf(t.other(s)).Locker
	if n := len(c.LockMany(t.ctx, nil, hour)); n != 0 {
		t.Errorf("LockMany of nothing has %d results", n)
	}
	t.set(s.Backend, key("0"), payload("v", 10), hour)
	if _, err := theirs.Lock(t.ctx, key("held"), hour); err != nil {
		t.Fatalf("Lock = %v", err)
	}
	keys := []string{key("0"), key("held"), key("1"), keyCanary + "\n", key("0"), key("2")}
	got := c.LockMany(t.ctx, keys, hour)
	if len(got) != len(keys) {
		t.Fatalf("LockMany of %d keys has %d results", len(keys), len(got))
	}
	t.failed("LockMany: a lock that another holds", got[1].Err, backends.ErrLocked)
	t.refusesKey("LockMany: the bad key", got[3].Err)
	t.failed("LockMany: a lock that the batch has taken already", got[4].Err, backends.ErrLocked)
	tokens := map[string]bool{}
	for _, i := range []int{0, 2, 5} {
		if got[i].Err != nil || len(got[i].Token) < 22 || tokens[got[i].Token] {
			t.Errorf("LockMany: a free lock gave a token of %d characters, %v, one of the batch's: %t", len(got[i].Token), got[i].Err, tokens[got[i].Token])
		}
		tokens[got[i].Token] = true
		_, err := theirs.Lock(t.ctx, keys[i], hour)
		t.failed("Lock of a lock that LockMany took", err, backends.ErrLocked)
	}
	t.holds(s.Backend, key("0"), payload("v", 10))
	t.misses(s.Backend, key("1"))
	for _, r := range c.LockMany(t.ctx, []string{key("3"), key("4")}, 0) {
		t.failed("LockMany without a lease", r.Err, backends.ErrTTL)
	}
	if _, err := theirs.Lock(t.ctx, key("3"), hour); err != nil {
		t.Errorf("Lock after a LockMany without a lease = %v", err)
	}
}

// locked takes the locks of n keys by one batch.
func (t *probe) locked(c backends.BatchLocker, n int, lease time.Duration) (locks []backends.HeldLock) {
	t.Helper()
	var keys []string
	for i := range n {
		keys = append(keys, key(fmt.Sprint(i)))
	}
	for i, r := range c.LockMany(t.ctx, keys, lease) {
		if r.Err != nil {
			t.Fatalf("LockMany: result %d = %v", i, r.Err)
		}
		locks = append(locks, backends.HeldLock{Key: keys[i], Token: r.Token})
	}
	if len(locks) != n {
		t.Fatalf("LockMany of %d keys has %d results", n, len(locks))
	}
	return locks
}

func (t *probe) unlockMany() {
	s := t.open()
	c := backends.CapabilitiesOf(s.Backend)
	theirs := backends.CapabilitiesOf(t.other(s)).Locker
	if n := len(c.BatchLocker.UnlockMany(t.ctx, nil)); n != 0 {
		t.Errorf("UnlockMany of nothing has %d results", n)
	}
	locks := t.locked(c.BatchLocker, 4, hour)
	single, err := c.Locker.Lock(t.ctx, key("single"), hour)
	if err != nil {
		t.Fatalf("Lock = %v", err)
	}
	none := backends.HeldLock{Key: key("none"), Token: locks[0].Token}
	swapped := backends.HeldLock{Key: locks[1].Key, Token: locks[2].Token}
	bad := backends.HeldLock{Key: keyCanary + "\n", Token: locks[0].Token}
	ask := []backends.HeldLock{none, locks[0], swapped, bad, locks[2], locks[0], {Key: key("single"), Token: single}}
	got := c.BatchLocker.UnlockMany(t.ctx, ask)
	if len(got) != len(ask) {
		t.Fatalf("UnlockMany of %d locks has %d results", len(ask), len(got))
	}
	t.refusesKey("UnlockMany: the bad key", got[3].Err)
	for i, released := range []bool{false, true, false, false, true, false, true} {
		if got[i].Released != released && (released || t.harness.can("UnlockReport")) || i != 3 && got[i].Err != nil {
			t.Errorf("UnlockMany: result %d = %t, %v, want %t", i, got[i].Released, got[i].Err, released)
		}
	}
	for _, k := range []string{locks[0].Key, locks[2].Key, key("single")} {
		if _, err := theirs.Lock(t.ctx, k, hour); err != nil {
			t.Errorf("Lock of a lock that UnlockMany released = %v", err)
		}
	}
	for _, k := range []string{locks[1].Key, locks[3].Key} {
		_, err := theirs.Lock(t.ctx, k, hour)
		t.failed("Lock of a lock that UnlockMany did not release", err, backends.ErrLocked)
	}
	if ok, err := c.Locker.Unlock(t.ctx, locks[3].Key, locks[3].Token); !ok || err != nil {
		t.Errorf("Unlock of a lock that LockMany took = %t, %v", ok, err)
	}
}

func (t *probe) lockManyExpires() {
	s := t.open()
	c := backends.CapabilitiesOf(s.Backend)
	old := t.locked(c.BatchLocker, 3, 200*time.Millisecond)
	if s.Advance != nil {
		s.Advance(time.Second)
	}
	for _, l := range old {
		var err error
		if !eventually(3*time.Second+t.harness.Granularity, func() bool { _, err = c.Locker.Lock(t.ctx, l.Key, hour); return err == nil }) {
			t.Fatalf("a lock does not expire: %v", err)
		}
	}
	for i, r := range c.BatchLocker.UnlockMany(t.ctx, old) {
		if r.Released && t.harness.can("UnlockReport") || r.Err != nil {
			t.Errorf("UnlockMany with an expired token: result %d = %t, %v", i, r.Released, r.Err)
		}
	}
	for _, l := range old {
		_, err := c.Locker.Lock(t.ctx, l.Key, hour)
		t.failed("Lock of the next owner's lock", err, backends.ErrLocked)
	}
}

func (t *probe) lockManyContention() {
	c := backends.CapabilitiesOf(t.backend()).BatchLocker
	keys := make([]string, 40)
	for i := range keys {
		keys[i] = key(fmt.Sprint(i))
	}
	var mu sync.Mutex
	taken := map[string]int{}
	t.parallel(8, func(g int) error {
		mine := slices.Concat(keys[5*g:], keys[:5*g])
		if g%2 == 1 {
			slices.Reverse(mine)
		}
		results := c.LockMany(t.ctx, mine, hour)
		mu.Lock()
		defer mu.Unlock()
		for i, r := range results {
			if r.Err == nil {
				taken[mine[i]]++
			} else if !errors.Is(r.Err, backends.ErrLocked) {
				return r.Err
			}
		}
		return nil
	})
	for _, k := range keys {
		if taken[k] != 1 {
			t.Errorf("a lock was taken by %d batches, want 1", taken[k])
		}
	}
}
