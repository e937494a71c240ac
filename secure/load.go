package secure

import (
	"context"
	"errors"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/envelope"
)

// loaded is the outcome of a shared load: a document of its own that every
// waiter decodes for itself, so that no two callers share a value; or, with
// Plaintext and L1Only, the shared object.
type loaded struct {
	doc    []byte
	object any
}

// produce runs the caller's loader.
type produce func(ctx context.Context) (any, error)

// getOrLoad stores the value of name in dst, from the cache or from load.
func (c *core) getOrLoad(ctx context.Context, name string, dst any, ttl time.Duration, load produce) error {
	if ttl <= 0 {
		return ErrTTL
	}
	h, err := c.lookup(name, dst)
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
	out, _, err := c.flights.Do(ctx, name, func(ctx context.Context) (loaded, error) {
		return c.fill(ctx, name, ttl, load)
	})
	if err != nil {
		return err
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
	found, err := c.fetch(ctx, name, ttl, func(r envelope.Received) (sealed envelope.Sealed, err error) {
		out.doc, sealed, err = c.openDoc(r)
		return sealed, err
	})
	if found {
		return out, nil
	}
	if err := c.mayLoad(name, err); err != nil {
		return loaded{}, err
	}
	return f.run(ctx, load)
}

// mayLoad says whether the loader runs after the backend read ended with err:
// on a miss and on an outage, and over an unauthenticated entry only if the
// options say so.
func (c *core) mayLoad(name string, err error) error {
	err = classify(err)
	switch {
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrBackend):
		c.absorbed("load", name, err)
		return nil
	case errors.Is(err, ErrAuth) && c.recompute:
		c.fail("load", name, err)
		return nil
	}
	return err
}

// refresh starts one background load of name, unless one is under way. The
// backend is asked first: another process may have refreshed the entry.
func (c *core) refresh(ctx context.Context, name string, ttl time.Duration, load produce) {
	c.flights.Go(ctx, name, func(ctx context.Context) (loaded, error) {
		f := c.startFill(name, ttl)
		defer f.release()
		fresh, err := c.refreshed(ctx, name, ttl)
		if fresh {
			return loaded{}, nil
		}
		if err = c.mayLoad(name, err); err == nil {
			_, err = f.run(ctx, load)
		}
		if err != nil && !errors.Is(err, ErrAbsent) {
			c.counts.refreshFailures.Add(1)
			c.log.Warn("cachekit: background refresh failed", "entry", c.label(name), "error", c.quiet(err))
		}
		return loaded{}, err
	})
}

// refreshed reports whether the backend holds an entry that is in the fresh
// part of its life, and replaces the in-process copy with it then.
func (c *core) refreshed(ctx context.Context, name string, ttl time.Duration) (bool, error) {
	if c.store == nil {
		return false, nil
	}
	ticket := c.l1.Watch(name)
	f, found, err := c.store.Get(ctx, name, true)
	if !found || err != nil {
		return false, err
	}
	_, sealed, err := c.openDoc(f.Received)
	if err != nil {
		return false, err
	}
	life, ok := c.lifeOfRead(f, ttl)
	if !ok || f.TTL == 0 || life.Fresh <= 1 {
		return false, nil
	}
	return c.l1.Fill(ticket, name, local{sealed: sealed, kind: localSealed}, life), nil
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
