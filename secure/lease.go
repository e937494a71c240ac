package secure

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/flight"
)

const (
	// fillLease is how long a process may load an entry for all others:
	// cachekit-rs's lease (flight.rs).
	fillLease = 5 * time.Second
	// fillWait is how long they wait for it. It covers a process that died (they
	// wait for its lease alone: one of them takes over at its end), the load of
	// the one that took over, and cachekit-py's lease of 10 s (cache_handler.py).
	fillWait = 10 * time.Second
	// A waiter looks for the value after firstPoll, then less and less often.
	firstPoll   = 10 * time.Millisecond
	longestPoll = 100 * time.Millisecond
)

// reader reads the entry that a load is to fill; found says that it needs no
// load.
type reader func() (out loaded, found bool, err error)

// lead returns once this process may load the entry, for all processes if they
// take the lock of the key too (the sister SDKs do), or has read what another
// one loaded. It waits for fillWait at most and then lets the load run beside
// the other; if locks fail, at once. The caller calls release, if it is not nil.
// No value depends on the lock: it saves loads.
func (f *filling) lead(ctx context.Context, read reader) (out loaded, found bool, release func(), err error) {
	until := time.Now().Add(fillWait)
	for p := (pace{}); ; {
		release, err = f.lease(ctx)
		locked := errors.Is(err, backends.ErrLocked)
		if err != nil && !locked {
			return loaded{}, false, nil, ctx.Err()
		}
		// The last owner may have stored the value since this process missed it.
		out, found, err = read()
		failed := err != nil
		if err = f.mayLoad(ctx, err); found || err != nil {
			if release != nil {
				release()
			}
			return out, found, nil, err
		}
		if failed || !locked || !time.Now().Before(until) {
			return loaded{}, false, release, nil
		}
		if err := p.wait(ctx); err != nil {
			return loaded{}, false, nil, err
		}
	}
}

// locking says whether a load takes locks. One that runs within another load of the
// same key does not: it would wait for that one.
func (c *core) locking(ctx context.Context) bool { return c.fillLock && !flight.Nested(ctx) }

// lease tries once to take the lock of the key; release gives it back in the
// background. The error is backends.ErrLocked, or what the load has to do
// without a lock for.
func (f *filling) lease(ctx context.Context) (release func(), err error) {
	c := f.core
	unlock, err := c.store.Lease(ctx, f.name, fillLease)
	switch {
	case err == nil:
		return func() { c.releases.Go(unlock) }, nil
	case !errors.Is(err, backends.ErrLocked):
		f.lockFailed(ctx, err)
	}
	return nil, err
}

// lockFailed reports that the load goes on without its lock, unless it has ended.
func (f *filling) lockFailed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	f.outage = f.outage || backends.IsOutage(err)
	f.core.counts.absorbed.Add(1)
	f.core.note(ctx, slog.LevelWarn, Event{Kind: "load_without_cache", Op: "lock", Error: errorClass(err, false)}, f.name, "load went on without its lock", "error", classify(err))
}

// pace is how long to wait before the next look at what somebody else loads.
type pace struct{ pause time.Duration }

// wait waits for some firstPoll, each time longer, or returns the context's error.
func (p *pace) wait(ctx context.Context) error {
	p.pause = min(max(p.pause*3/2, firstPoll), longestPoll)
	return sleep(ctx, p.pause/2+rand.N(p.pause))
}

// sleep waits for d, or returns the context's error.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
