package secure

import (
	"context"
	"errors"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/codec/interop"
	"github.com/cachekit-io/cachekit-go/internal/envelope"
	"github.com/cachekit-io/cachekit-go/internal/store"
	"github.com/cachekit-io/cachekit-go/l1"
)

// Cache stores Go values, sealed, under string keys. It is safe for concurrent
// use.
type Cache struct {
	core   *core
	prefix string // "namespace:" or ""
}

// Namespace returns a view of the same cache under another namespace, with the
// same tenant, keys, backend and in-process layer. The rules are those of
// Options.Namespace; the error is ErrConfig. Closing any of them closes all.
func (c *Cache) Namespace(namespace string) (*Cache, error) {
	if err := interop.CheckNamespace(namespace); err != nil {
		return nil, misconfigured("namespace: %w", err)
	}
	if err := c.core.cohere(prefix(namespace)); err != nil {
		return nil, err
	}
	return &Cache{core: c.core, prefix: prefix(namespace)}, nil
}

func prefix(namespace string) string {
	if namespace == "" {
		return ""
	}
	return namespace + ":"
}

// name returns the storage key of a caller's key, the exact string that the
// backend sees and the AAD binds.
func (c *Cache) name(key string) (string, error) {
	if c.core.closed.Load() {
		return "", ErrClosed
	}
	if key == "" {
		return "", c.core.checkKey("")
	}
	if !c.core.hide.IsZero() {
		key = c.core.hide.Hide(c.prefix + key)
	}
	return c.prefix + key, nil
}

// Get stores the value of key in dst, a non-nil pointer, and reports whether
// there was one. It reuses the capacity of byte slices, and what else package
// codec says, in *dst. A miss leaves *dst as it was.
//
// The error is ErrAuth, ErrMalformed, ErrType, ErrTooLarge, ErrUnavailable,
// ErrBackend, ErrKey, ErrClosed or the context's; after it *dst is undefined.
func (c *Cache) Get(ctx context.Context, key string, dst any) (found bool, err error) {
	name, err := c.name(key)
	if err != nil {
		return false, c.core.fail(ctx, "get", "", err)
	}
	found, err = c.core.get(ctx, name, c.core.ttl, dst)
	return found, c.core.fail(ctx, "get", name, err)
}

// Set stores value under key for the cache's TTL. When it returns nil, the
// value is stored; when it returns an error, what is stored is unknown, and
// the in-process copy is gone.
//
// The error is ErrType, ErrTooLarge, ErrUnavailable, ErrBackend, ErrKey,
// ErrClosed or the context's. value is not kept.
func (c *Cache) Set(ctx context.Context, key string, value any) error {
	return c.SetTTL(ctx, key, value, c.core.ttl)
}

// SetTTL is Set with a time to live of its own: positive, or NoExpiry; anything
// else is ErrTTL. A backend with a coarser clock rounds up.
func (c *Cache) SetTTL(ctx context.Context, key string, value any, ttl time.Duration) error {
	name, err := c.name(key)
	if err != nil {
		return c.core.fail(ctx, "set", "", err)
	}
	ctx, o := c.core.begin(ctx, "set", name, 1)
	err = c.core.set(ctx, name, value, ttl)
	o.done(err)
	return c.core.fail(ctx, "set", name, err)
}

// Delete removes the entry of key and reports whether there was one, as far as
// the backend can tell. When it returns an error, what is stored is unknown,
// and the in-process copy is gone.
func (c *Cache) Delete(ctx context.Context, key string) (existed bool, err error) {
	name, err := c.name(key)
	if err != nil {
		return false, c.core.fail(ctx, "delete", "", err)
	}
	ctx, o := c.core.begin(ctx, "delete", name, 1)
	existed, err = c.core.delete(ctx, name)
	o.done(err)
	return existed, c.core.fail(ctx, "delete", name, err)
}

// Exists reports whether the backend has an entry under key. It neither
// transfers nor authenticates it.
func (c *Cache) Exists(ctx context.Context, key string) (bool, error) {
	name, err := c.name(key)
	if err != nil {
		return false, c.core.fail(ctx, "exists", "", err)
	}
	ctx, o := c.core.begin(ctx, "exists", name, 1)
	ok, err := c.core.exists(ctx, name)
	o.read(ok, err)
	return ok, c.core.fail(ctx, "exists", name, err)
}

// Health makes one round trip to the backend and reports on it.
func (c *Cache) Health(ctx context.Context) backends.Health { return c.core.health(ctx) }

// Close ends background refreshes and closes what the cache opened itself; a
// backend that was passed in stays open. Calls after it return ErrClosed. Close
// may be called more than once.
func (c *Cache) Close() error { return c.core.close() }

// get is the whole read path.
func (c *core) get(ctx context.Context, name string, ttl time.Duration, dst any) (bool, error) {
	h, err := c.lookup(name, dst)
	if h != hitNone || err != nil {
		c.local(ctx, "get", name, h, err)
		return h != hitAbsent && err == nil, err
	}
	ctx, o := c.begin(ctx, "get", name, 1)
	found, err := c.fetch(ctx, name, ttl, c.l1 != nil, func(f store.Fetched) (envelope.Sealed, error) {
		return c.open(f.Received, dst)
	})
	o.read(found, err)
	return found, err
}

// fetch reads name from the backend, has the bytes opened, and copies them to
// the in-process layer if they authenticated and nothing was written meanwhile.
// ttl is what the entry was presumably written with; withAge asks for what the
// backend knows of its age.
func (c *core) fetch(ctx context.Context, name string, ttl time.Duration, withAge bool, open func(store.Fetched) (envelope.Sealed, error)) (bool, error) {
	if err := c.checkKey(name); err != nil {
		return false, err
	}
	if c.store == nil {
		c.counts.misses.Add(1)
		return false, nil
	}
	var ticket l1.Ticket
	if c.l1 != nil {
		ticket = c.l1.Watch(name)
	}
	f, found, err := c.store.Get(ctx, name, withAge)
	if !found || err != nil {
		c.countMiss(err)
		return false, err
	}
	err = c.take(f, ticket, ttl, open)
	return err == nil, err
}

// take has an entry that was read opened, and copies it to the in-process layer
// unless a write of it has come between since ticket.
func (c *core) take(f store.Fetched, ticket l1.Ticket, ttl time.Duration, open func(store.Fetched) (envelope.Sealed, error)) error {
	c.counts.backendHits.Add(1)
	sealed, err := open(f)
	if err != nil || c.l1 == nil {
		return err
	}
	if life, ok := c.lifeOfRead(f, ttl); ok {
		c.l1.Fill(ticket, sealed.Key(), local{sealed: sealed, kind: localSealed}, life)
	}
	return nil
}

// set is the whole write path.
func (c *core) set(ctx context.Context, name string, value any, ttl time.Duration) error {
	if ttl <= 0 {
		return ErrTTL
	}
	if err := c.checkKey(name); err != nil {
		return err
	}
	if c.plaintext && c.l1Only {
		return c.keep(name, local{object: value, kind: localObject}, ttl)
	}
	sealed, err := c.seal(time.Now(), name, value)
	if err != nil {
		return err
	}
	if c.store == nil {
		return c.keep(name, local{sealed: sealed, kind: localSealed}, ttl)
	}
	if err := c.order.write(ctx, name); err != nil {
		return err
	}
	defer c.wrote(name)
	return c.put(ctx, sealed, ttl)
}

// put writes to the backend, then to the in-process layer.
func (c *core) put(ctx context.Context, sealed envelope.Sealed, ttl time.Duration) error {
	return c.putOver(ctx, sealed, ttl, envelope.Sealed{})
}

// putOver is put over the entry base and no other; a zero base is any. The error
// is errSuperseded if another entry is there, or none.
func (c *core) putOver(ctx context.Context, sealed envelope.Sealed, ttl time.Duration, base envelope.Sealed) error {
	c.counts.sets.Add(1)
	if c.l1 == nil {
		return c.write(ctx, sealed, ttl, base)
	}
	ticket := c.l1.Begin(sealed.Key())
	stored := false
	defer func() { // a backend may panic too
		if !stored {
			c.l1.Abort(ticket, sealed.Key())
		}
	}()
	if err := c.write(ctx, sealed, ttl, base); err != nil {
		return err
	}
	stored = true
	c.l1.Commit(ticket, sealed.Key(), local{sealed: sealed, kind: localSealed}, c.lifeOfWrite(ttl))
	return nil
}

// errSuperseded says that an entry has changed since a refresh read it.
var errSuperseded = errors.New("secure: the entry has changed meanwhile")

func (c *core) write(ctx context.Context, sealed envelope.Sealed, ttl time.Duration, base envelope.Sealed) error {
	if base.IsZero() {
		return c.store.Put(c.coherence.writing(ctx, sealed.Key()), sealed, ttl)
	}
	replaced, err := c.store.Replace(ctx, base, sealed, ttl)
	if err == nil && !replaced {
		return errSuperseded
	}
	return err
}

// keep stores an entry of a cache that has nothing but its in-process layer.
func (c *core) keep(name string, v local, ttl time.Duration) error {
	c.counts.sets.Add(1)
	defer c.flights.Forget(name)
	if !c.l1.Put(name, v, c.lifeOfWrite(ttl)) {
		return ErrTooLarge
	}
	return nil
}

func (c *core) delete(ctx context.Context, name string) (bool, error) {
	if err := c.checkKey(name); err != nil {
		return false, err
	}
	c.counts.deletes.Add(1)
	if c.store == nil {
		v, _ := c.l1.Get(name)
		c.l1.Invalidate(name)
		c.flights.Forget(name)
		return v != nil && v.kind != localAbsent, nil
	}
	if err := c.order.write(ctx, name); err != nil {
		return false, err
	}
	defer c.wrote(name)
	if c.l1 == nil {
		return c.store.Delete(ctx, name)
	}
	ticket := c.l1.Begin(name)
	defer c.l1.Abort(ticket, name)
	return c.store.Delete(c.coherence.writing(ctx, name), name)
}

func (c *core) exists(ctx context.Context, name string) (bool, error) {
	if err := c.checkKey(name); err != nil {
		return false, err
	}
	if c.store == nil {
		v, _ := c.l1.Get(name)
		return v != nil && v.kind != localAbsent, nil
	}
	return c.store.Exists(ctx, name)
}

// wrote ends an explicit write. Who asks from now on does not share a load that
// began before.
func (c *core) wrote(name string) {
	c.order.end(name)
	c.flights.Forget(name)
}
