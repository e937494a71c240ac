package faults_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
	"github.com/cachekit-io/cachekit-go/secure"
)

// clocks are the behaviours that move the wall clock of a process for good, of
// which no other cell shall know.
var clocks = []behaviour{
	{name: "the client's clock jumps forward", what: "The wall clock of the caller's machine goes an hour forward, past the TTL of the entries, while a call waits for a server that is silent. Files, HTTP and DynamoDB keep TTLs by that clock.",
		on: everywhere, run: clientClock(time.Hour), serial: true},
	{name: "the client's clock is set back", what: "The wall clock of the caller's machine goes an hour back while a call waits for a server that is silent.",
		on: everywhere, run: clientClock(-time.Hour), serial: true},
	{name: "the server's clock jumps forward", what: "The wall clock of the server goes an hour forward, past the TTL of the entries. Memcached keeps TTLs by the monotonic one.",
		on: only("redis", "memcached", "cachekitio"), run: serverClock(time.Hour), serial: true, alone: true},
	{name: "the server's clock is set back", what: "The wall clock of the server goes an hour back.",
		on: only("redis", "memcached", "cachekitio"), run: serverClock(-time.Hour), serial: true, alone: true},
}

// clockRows are what TestClocks observed, by the numbers of the cells.
var clockRows = map[int]row{}

// Rule: however the wall clocks of a program or a server are set, no call waits
// for them or ends by them, no entry is served past its TTL by the clock that its
// storage keeps it by, none whose TTL is not over is lost, and leases end.
func TestClocks(t *testing.T) {
	testenv.MoveClock(t, 0) // or the test ends here
	r := newRigs(t)
	for _, c := range cells(t) {
		if c.serial {
			c.play(r)
			clockRows[c.number] = c.row
		}
	}
}

// byClient: the clocks of the clients tell when an entry or a lease is over.
func (c *cell) byClient() bool {
	return !slices.Contains([]string{"redis", "memcached", "cachekitio"}, c.backend)
}

const (
	briefly = time.Second
	long    = 3 * time.Hour
)

var missed = []string{"miss"}

func clientClock(d time.Duration) func(*cell) {
	return func(c *cell) {
		b, ok := c.beforeTheJump()
		if !ok {
			return
		}
		c.jumpWhileWaiting(func() { testenv.MoveClock(c.t, d) })
		found := fine
		if c.byClient() && d > 0 {
			found = missed
		}
		c.afterTheJump(b, found, found)
		if d > 0 || !c.byClient() {
			c.ends(b)
		}
		testenv.MoveClock(c.t, 0)
		c.nextLoad("after-the-jump")
		if !c.byClient() || d > 0 { // else the TTL began an hour ago
			c.stays("held", 2)
		}
	}
}

func serverClock(d time.Duration) func(*cell) {
	return func(c *cell) {
		b, ok := c.beforeTheJump()
		if !ok {
			return
		}
		c.rig.setClock(d)
		found := fine
		if c.backend != "memcached" && d > 0 {
			found = missed
		}
		c.afterTheJump(b, found, fine)
		if d > 0 || c.backend == "memcached" {
			c.ends(b)
		}
		c.nextLoad("after-the-jump")
		c.stays("held", 2)
	}
}

// beforeTheJump stores an entry that outlives the jump and one that does not, and
// takes a lock. It returns a backend of the storage.
func (c *cell) beforeTheJump() (backends.Backend, bool) {
	b, err := untilOpen(c.rig.direct)
	if err != nil {
		c.errorf("open: %v", err)
		return nil, false
	}
	c.close = append(c.close, b.Close)
	ok := within(recovery, func(ctx context.Context) bool {
		return c.other.SetTTL(ctx, "long", newValue("long", 1), long) == nil
	})
	if locker := backends.CapabilitiesOf(b).Locker; ok && locker != nil {
		ok = within(recovery, func(ctx context.Context) bool {
			_, err := locker.Lock(ctx, c.storageKey("leased"), briefly)
			return err == nil
		})
	}
	ok = ok && within(recovery, func(ctx context.Context) bool {
		return c.view.SetTTL(ctx, "brief", newValue("brief", 1), briefly) == nil
	})
	if !ok {
		c.errorf("nothing can be stored before the jump")
	}
	return b, ok
}

func (c *cell) storageKey(key string) string { return fmt.Sprintf("cell-%d:%s", c.number, key) }

// jumpWhileWaiting has the clock jump while a call without a deadline waits, which
// ends by the backend's own limit.
func (c *cell) jumpWhileWaiting(jump func()) {
	if c.rig.proxy == nil {
		jump()
		time.Sleep(5 * time.Millisecond) // package l1 looks at the wall clock once in a millisecond
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c.rig.proxy.Stall()
	ended := make(chan error, 1)
	go func() { _, err := c.read(ctx, c.view, "seed", 1); ended <- err }()
	time.Sleep(ioLimit / 4)
	jump()
	select {
	case err := <-ended:
		if !errors.Is(err, secure.ErrUnavailable) {
			c.errorf("a call that waits while the clock jumps ended with %v", err)
		}
	case <-time.After(recovery):
		c.row.Late = "LATE"
		c.errorf("a call waits for the clock")
	}
	c.rig.proxy.Resume()
	if !within(recovery, func(ctx context.Context) bool {
		said, err := c.read(ctx, c.view, "long", 1)
		return said == "ok" && err == nil
	}) {
		c.errorf("no recovery from a silent server")
	}
}

// afterTheJump calls as the page shows. found is what may be left of an entry with
// the default TTL, copied of one with a copy in the process.
func (c *cell) afterTheJump(b backends.Backend, found, copied []string) {
	c.row.Get = c.call(patient, found, func(ctx context.Context) (string, error) { return c.read(ctx, c.view, "seed", 1) })
	c.row.Set = c.call(patient, fine, func(ctx context.Context) (string, error) { return "ok", c.view.Set(ctx, "held", newValue("held", 2)) })
	c.row.Load = c.call(patient, fine, func(ctx context.Context) (string, error) { return c.getOrLoad(ctx, "loaded") })
	c.row.Copy = c.call(patient, copied, func(ctx context.Context) (string, error) { return c.read(ctx, c.view, "copied", 1) })
	c.hastyCalls()
	c.stays("long", 1)
	if t := backends.CapabilitiesOf(b).TTLer; t != nil {
		left, err := t.TTL(context.Background(), c.storageKey("long"))
		if err != nil || left <= 0 || left > long+2*time.Hour {
			c.errorf("the TTL of an entry with %v is %v, error %v", long, left, err)
		}
	}
}

// stays checks that an entry is in the storage.
func (c *cell) stays(key string, version int64) {
	said := c.call(patient, fine, func(ctx context.Context) (string, error) { return c.read(ctx, c.other, key, version) })
	if said == "miss" {
		c.row.Wrong = "LOST"
	}
}

// ends waits for the end of the entry and of the lease that beforeTheJump began.
func (c *cell) ends(b backends.Backend) {
	if !within(recovery, func(ctx context.Context) bool {
		mine, err := c.read(ctx, c.view, "brief", 1)
		theirs, err2 := c.read(ctx, c.other, "brief", 1)
		return mine == "miss" && theirs == "miss" && errors.Join(err, err2) == nil
	}) {
		c.row.Wrong = "WRONG"
		c.errorf("an entry is served long past its TTL")
	}
	if locker := backends.CapabilitiesOf(b).Locker; locker != nil && !within(recovery, func(ctx context.Context) bool {
		_, err := locker.Lock(ctx, c.storageKey("leased"), briefly)
		return err == nil
	}) {
		c.errorf("a lease does not end")
	}
}

// Rule: an entry of the in-process layer ends when its TTL has passed on the wall
// clock or on the monotonic one, whichever is first, and no sooner.
func TestTheLayerWhenTheClockIsSet(t *testing.T) {
	for _, tc := range []struct {
		ttl, jump time.Duration
		found     bool
	}{
		{10 * time.Minute, time.Hour, false},
		{long, time.Hour, true},
		{10 * time.Minute, -time.Hour, true},
		{50 * time.Millisecond, -time.Hour, false},
	} {
		t.Run(fmt.Sprint(tc.ttl, tc.jump), func(t *testing.T) {
			c, err := newCache(t.Context(), "minimal", nil, func(o *secure.Options) { o.L1Only = true })
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			view := secure.For[value](c)
			if err := view.SetTTL(t.Context(), "k", newValue("k", 1), tc.ttl); err != nil {
				t.Fatal(err)
			}
			testenv.MoveClock(t, tc.jump)
			time.Sleep(100 * time.Millisecond)
			if _, found, err := view.Get(t.Context(), "k"); found != tc.found || err != nil {
				t.Errorf("found = %v, error %v, want found = %v", found, err, tc.found)
			}
		})
	}
}
