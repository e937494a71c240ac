package secure

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/envelope"
	"github.com/cachekit-io/cachekit-go/internal/store"
	"github.com/cachekit-io/cachekit-go/l1"
)

// loaded is the outcome of a shared load: a document of its own that every
// waiter decodes for itself, so that no two callers share a value; or, with
// Plaintext and L1Only, the shared object.
type loaded struct {
	doc    []byte
	object any
	// stale: the backend served the entry past its fresh window.
	stale bool
	// ran: the loader did.
	ran bool
}

// open returns what opens an entry that was read into l.
func (l *loaded) open(c *core) func(store.Fetched) (envelope.Sealed, error) {
	return func(e store.Fetched) (sealed envelope.Sealed, err error) {
		l.stale = e.Stale
		l.doc, sealed, err = c.openDoc(e.Received)
		return sealed, err
	}
}

// produce runs the caller's loader.
type produce func(ctx context.Context) (any, error)

// getOrLoad stores the value of name in dst, from the cache or from load.
func (c *core) getOrLoad(ctx context.Context, name string, dst any, ttl time.Duration, load produce) error {
	if ttl <= 0 {
		return ErrTTL
	}
	h, err := c.lookup(name, dst)
	if h != hitNone || err != nil {
		c.local(ctx, "load", name, h, err)
	}
	switch {
	case err != nil:
		return err
	case h == hitAbsent:
		return ErrAbsent
	case h == hitStale:
		c.refresh(ctx, name, ttl, load)
		return nil
	case h == hitFresh:
		return nil
	}
	ctx, o := c.begin(ctx, "load", name, 1)
	out, shared, err := c.flights.Do(ctx, name, func(ctx context.Context) (loaded, error) {
		return c.fill(ctx, name, ttl, load)
	})
	o.loaded(out, shared, err)
	if err != nil {
		return err
	}
	if out.stale {
		c.revalidate(ctx, name, ttl, load)
	}
	if out.doc == nil {
		return assign(dst, out.object)
	}
	return c.decode(out.doc, dst)
}

// fill is one shared load: the backend first, then the loader.
func (c *core) fill(ctx context.Context, name string, ttl time.Duration, load produce) (out loaded, err error) {
	f := c.startFill(name, ttl)
	defer f.release()
	read := f.reader(ctx)
	out, found, err := read()
	switch {
	case found:
		return out, nil
	case err == nil:
		return f.lock(ctx, read, load)
	}
	if err := f.mayLoad(ctx, err); err != nil {
		return loaded{}, err
	}
	return f.run(ctx, load)
}

// reader reads the entry through the in-process layer's eyes, as often as it is
// called.
func (f *filling) reader(ctx context.Context) reader {
	c := f.core
	return func() (out loaded, found bool, err error) {
		found, err = c.fetch(ctx, f.name, f.ttl, true, out.open(c))
		return out, found && (!out.stale || c.serveStale), err
	}
}

// lock runs the load of an entry that the backend does not have, in one process
// of all where it has locks.
func (f *filling) lock(ctx context.Context, read reader, load produce) (loaded, error) {
	if f.core.locking(ctx) {
		out, found, release, err := f.lead(ctx, read)
		if found || err != nil {
			return out, err
		}
		if release != nil {
			defer release()
		}
	}
	return f.run(ctx, load)
}

// mayLoad says whether the loader runs after the backend read ended with err:
// on a miss and on an outage, and over an unauthenticated entry only if the
// options say so.
func (f *filling) mayLoad(ctx context.Context, err error) error {
	err = classify(err)
	switch c := f.core; {
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrBackend):
		f.outage = errors.Is(err, ErrUnavailable)
		c.absorbed(ctx, "load", f.name, err)
		return nil
	case errors.Is(err, ErrAuth) && c.recompute:
		c.fail(ctx, "load", f.name, err)
		return nil
	}
	return err
}

// refresh starts one background load of name, unless one is under way. The
// backend is asked first: another process may have refreshed the entry.
func (c *core) refresh(ctx context.Context, name string, ttl time.Duration, load produce) {
	c.flights.Go(ctx, name, func(ctx context.Context) (loaded, error) {
		return c.renew(ctx, name, ttl, false, load)
	})
}

// revalidate is refresh for an entry that the backend itself served stale
// (spec/saas-api.md, "Revalidation flow"): by one process of all, which holds
// the lock of the key as a lease and does not wait for it. It is a flight apart,
// so that callers do not wait for it either but are served the stale entry.
func (c *core) revalidate(ctx context.Context, name string, ttl time.Duration, load produce) {
	c.flights.Go(ctx, revalidation+name, func(ctx context.Context) (loaded, error) {
		release, err := c.store.Lease(ctx, name, c.loadTimeout)
		switch {
		case errors.Is(err, backends.ErrLocked):
			return loaded{}, nil
		case err != nil:
			c.failedRefresh(ctx, name, err)
			return loaded{}, err
		}
		defer release()
		return c.renew(ctx, name, ttl, true, load)
	})
}

// revalidation begins the names of flights that no storage key has.
const revalidation = "\x00revalidate\x00"

// renew reads the entry again, and loads it unless it is fresh by now.
func (c *core) renew(ctx context.Context, name string, ttl time.Duration, servedStale bool, load produce) (out loaded, err error) {
	ctx, o := c.begin(ctx, "refresh", name, 1)
	defer func() { o.loaded(out, false, err) }()
	f := c.startFill(name, ttl)
	defer f.release()
	out, fresh, err := f.refreshed(ctx, servedStale)
	if !fresh && err == nil && out.doc != nil && !servedStale && c.fillLock {
		release, lerr := f.lease(ctx)
		switch {
		case errors.Is(lerr, backends.ErrLocked):
			return out, nil // another process refreshes it; nobody has to wait
		case lerr == nil:
			defer release()
			out, fresh, err = f.refreshed(ctx, servedStale)
		}
	}
	switch missed := err == nil && out.doc == nil && !servedStale; {
	case fresh:
		return out, nil
	case missed:
		out, err = f.lock(ctx, f.reader(ctx), load)
	default:
		if err = f.mayLoad(ctx, err); err == nil {
			out, err = f.run(ctx, load)
		}
	}
	if err != nil && !errors.Is(err, ErrAbsent) {
		c.failedRefresh(ctx, name, err)
	}
	return out, err
}

func (c *core) failedRefresh(ctx context.Context, name string, err error) {
	c.counts.refreshFailures.Add(1)
	c.note(ctx, slog.LevelWarn, Event{Kind: "refresh_failure", Op: "refresh", Error: errorClass(err, false)}, name, "background refresh failed", "error", c.quiet(err))
}

// refreshed reports whether the backend holds an entry that needs no load, and
// replaces the in-process copy with it then: one in the fresh part of its life,
// or, if the backend had served a stale one, any that it does not call stale.
// Otherwise the load starts from the entry: only over its bytes may it write.
func (f *filling) refreshed(ctx context.Context, servedStale bool) (out loaded, fresh bool, err error) {
	c, name := f.core, f.name
	if c.store == nil {
		return loaded{}, false, nil
	}
	var ticket l1.Ticket
	if c.l1 != nil {
		ticket = c.l1.Watch(name)
	}
	e, found, err := c.store.Get(ctx, name, true)
	if !found || err != nil {
		return loaded{}, false, err
	}
	doc, sealed, err := c.openDoc(e.Received)
	if err != nil {
		return loaded{}, false, err
	}
	f.base = sealed
	life, ok := c.lifeOfRead(e, f.ttl)
	fresh = !e.Stale && (servedStale || e.Left() != 0 && life.Fresh > 1)
	if fresh && ok && c.l1 != nil {
		fresh = c.l1.Fill(ticket, name, local{sealed: sealed, kind: localSealed}, life) || servedStale
	}
	return loaded{doc: doc}, fresh, nil
}

// quiet keeps the text of a loader's error, which may hold anything, out of the
// log; errors of this module are shown.
func (c *core) quiet(err error) any {
	switch err := classify(err); {
	case errors.Is(err, ErrAuth), errors.Is(err, ErrUnavailable), errors.Is(err, ErrBackend),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return err
	}
	return "the loader returned an error"
}
