package faults_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/resilient"
	"github.com/cachekit-io/cachekit-go/secure"
)

// cell is one fault on one storage under one profile.
type cell struct {
	fault
	backend, profile string
	number           int
	t                *testing.T
	rig              *rig
	dns              *resolver
	cache            *secure.Cache
	view             secure.View[value]
	// other is another process's cache, without an in-process layer.
	other secure.View[value]
	close []func() error
	// procedure is what the cell does once it is set up.
	procedure func(*cell)
	patient   bool
	crowd     bool
	serial    bool

	mu  sync.Mutex
	row row
}

// row is what a cell observed, as the page shows it.
type row struct {
	Get, Set, Load, Copy string
	// Late says how calls stood to their contexts, Wrong whether a value was
	// wrong, Back how the cache recovered.
	Late, Wrong, Back string
}

func (c *cell) errorf(format string, args ...any) {
	c.t.Errorf("%s, %s, %s: %s", c.name, c.backend, c.profile, fmt.Sprintf(format, args...))
}

// patient is a caller that waits for every retry, hasty one that waits for none.
const (
	patient  = 4 * time.Second
	hasty    = 40 * time.Millisecond
	recovery = 30 * time.Second
)

// setUp opens the caches and stores what the calls find.
func (c *cell) setUp(r *rig) bool {
	c.rig, c.row = r, row{Late: "in time", Wrong: "none"}
	if r == nil {
		c.errorf("there is no storage")
		return false
	}
	var dial dialer
	if c.dns != nil {
		dial = c.dns.dialer(r.proxy.Addr())
	}
	mine, err := untilOpen(func(ctx context.Context) (backends.Backend, error) { return r.open(ctx, dial) })
	if err != nil {
		c.errorf("open: %v", err)
		return false
	}
	c.close = append(c.close, mine.Close)
	theirs, err := untilOpen(r.direct)
	if err != nil {
		c.errorf("open: %v", err)
		return false
	}
	c.close = append(c.close, theirs.Close)
	return c.build(mine, theirs) && c.seed()
}

// untilOpen tries for a while: the machine may be slower than the time limit.
func untilOpen(open func(context.Context) (backends.Backend, error)) (b backends.Backend, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), recovery)
	defer cancel()
	for range 40 {
		if b, err = open(ctx); err == nil {
			return b, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil, err
}

func (c *cell) build(mine, theirs backends.Backend) bool {
	namespace := fmt.Sprintf("cell-%d", c.number)
	cache, err := newCache(context.Background(), c.profile, mine, func(o *secure.Options) {
		if o.Namespace = namespace; !c.patient {
			o.LoadTimeout = patient
		}
		if c.profile == "secure" {
			o.ReliabilityOptions = &resilient.Options{OpenFor: 300 * time.Millisecond}
		}
	})
	if err != nil {
		c.errorf("%v", err)
		return false
	}
	other, err := newCache(context.Background(), "minimal", theirs, func(o *secure.Options) { o.Namespace, o.NoL1 = namespace, true })
	if err != nil {
		c.errorf("%v", err)
		return false
	}
	c.cache, c.view, c.other = cache, secure.For[value](cache), secure.For[value](other)
	c.close = append([]func() error{cache.Close, other.Close}, c.close...)
	return true
}

func (c *cell) tearDown() {
	for _, f := range c.close {
		if err := f(); err != nil {
			c.errorf("close: %v", err)
		}
	}
}

// seed stores "seed" and "held" as another process, and "copied" with a copy.
func (c *cell) seed() bool {
	ok := within(recovery, func(ctx context.Context) bool {
		return c.other.Set(ctx, "seed", newValue("seed", 1)) == nil && c.other.Set(ctx, "held", newValue("held", 1)) == nil &&
			c.view.Set(ctx, "copied", newValue("copied", 1)) == nil
	})
	if !ok {
		c.errorf("nothing can be stored before the fault")
	}
	return ok
}

// within repeats f, each time under a patient context, until it is true.
func within(limit time.Duration, f func(ctx context.Context) bool) bool {
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), patient)
		ok := f(ctx)
		cancel()
		if ok {
			return true
		}
	}
	return false
}

// run inflicts the fault, calls, heals it, and looks at what is left.
func (c *cell) run() {
	c.inflict(c)
	stored := c.patientCalls()
	c.hastyCalls()
	if !c.unreached && !within(recovery, func(ctx context.Context) bool { return c.other.Set(ctx, "held", newValue("held", 3)) == nil }) {
		c.errorf("another process cannot write past the fault")
	}
	c.heal(c)
	c.recovers()
	c.leftovers(stored)
}

// patientCalls are what the page shows. It returns whether the Set was
// acknowledged.
func (c *cell) patientCalls() (stored bool) {
	c.row.Get = c.call(patient, c.get, func(ctx context.Context) (string, error) { return c.read(ctx, c.view, "seed", 1) })
	c.row.Set = c.call(patient, c.set, func(ctx context.Context) (string, error) {
		return "ok", c.view.Set(ctx, "held", newValue("held", 2))
	})
	c.row.Load = c.call(patient, c.load, func(ctx context.Context) (string, error) { return c.getOrLoad(ctx, "loaded") })
	c.row.Copy = c.call(patient, fine, func(ctx context.Context) (string, error) { return c.read(ctx, c.view, "copied", 1) })
	return c.row.Set == "ok"
}

// call runs f under a context and returns what it said, or the class of its
// error. may is what it is allowed to be, besides the end of the context.
func (c *cell) call(limit time.Duration, may []string, f func(context.Context) (string, error)) string {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	start := time.Now()
	said, err := f(ctx)
	late := time.Since(start) - limit
	if late > slack {
		c.late(late)
	}
	if err != nil {
		said = classOf(err)
	}
	if over := said == "deadline" && late >= 0; !over && !slices.Contains(may, said) {
		c.errorf("a call ended with %q (%v), want one of %q", said, err, may)
	}
	return said
}

func (c *cell) late(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.row.Late = "LATE by " + by.Round(time.Millisecond).String()
	c.errorf("a call returned %v after the end of its context", by)
}

// read reads key, of which only the given versions are right.
func (c *cell) read(ctx context.Context, from secure.View[value], key string, versions ...int64) (string, error) {
	v, found, err := from.Get(ctx, key)
	switch {
	case err != nil:
		return "", err
	case !found:
		return "miss", nil
	case !v.isOf(key) || !slices.Contains(versions, v.Version):
		c.row.Wrong = "WRONG"
		c.errorf("%s is version %d of %s, want %v", key, v.Version, v.Key, versions)
	}
	return "ok", nil
}

func (c *cell) getOrLoad(ctx context.Context, key string) (string, error) {
	v, err := c.view.GetOrLoad(ctx, key, func(context.Context) (value, error) { return newValue(key, 1), nil })
	if err == nil && !v.isOf(key) {
		c.row.Wrong = "WRONG"
		c.errorf("GetOrLoad of %s returned a value of %s", key, v.Key)
	}
	return "ok", err
}

// hastyCalls checks that calls end with a context that is much shorter than any
// limit of the backend; the best of five counts, because the machine is shared.
func (c *cell) hastyCalls() {
	for i, f := range []func(ctx context.Context, n int){
		func(ctx context.Context, _ int) { _, _ = c.read(ctx, c.view, "seed", 1) },
		func(ctx context.Context, n int) { _ = c.view.Set(ctx, fmt.Sprint("hasty-", n), newValue("x", 1)) },
		func(ctx context.Context, n int) { _, _ = c.getOrLoad(ctx, fmt.Sprint("hasty-load-", n)) },
		func(ctx context.Context, _ int) { _, _ = c.cache.Delete(ctx, "nothing") },
	} {
		best := time.Hour
		for n := 0; n < 5 && best > slack; n++ {
			ctx, cancel := context.WithTimeout(context.Background(), hasty)
			start := time.Now()
			f(ctx, n)
			best = min(best, time.Since(start)-hasty)
			cancel()
		}
		if best > slack {
			c.errorf("hasty call %d", i)
			c.late(best)
		}
	}
}

// recovers waits until the cache reads and writes again, by itself.
func (c *cell) recovers() {
	start := time.Now()
	restored := "ok"
	ok := within(recovery, func(ctx context.Context) bool {
		said, err := c.read(ctx, c.view, "seed", 1)
		if said == "miss" && c.unreached && c.rig.loses {
			restored = "miss"
		}
		return err == nil && said == restored && c.view.Set(ctx, "after", newValue("after", 1)) == nil
	})
	c.row.Back = took(time.Since(start))
	if !ok {
		c.row.Back = "NO"
		c.errorf("no recovery within %v", recovery)
	}
}

// leftovers checks that what was acknowledged is there, that an abandoned write
// did not land over a newer one of another process, and that writes whose outcome
// is unknown left an old value or a new one.
func (c *cell) leftovers(stored bool) {
	may := []int64{3}
	if c.unreached {
		may = []int64{1, 2}
		if stored {
			may = []int64{2}
		}
	}
	for who, view := range map[string]secure.View[value]{"another process": c.other, "the cache": c.view} {
		var said string
		right := may
		if stored && who == "the cache" {
			right = append(right, 2) // its copy, for as long as that lives
		}
		if !within(recovery, func(ctx context.Context) bool {
			var err error
			said, err = c.read(ctx, view, "held", right...)
			return err == nil
		}) {
			c.errorf("%s cannot read after the fault", who)
		}
		if said == "miss" && !(c.unreached && c.rig.loses) {
			c.row.Wrong = "LOST"
			c.errorf("%s finds nothing where a write was acknowledged", who)
		}
	}
}
