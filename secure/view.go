package secure

import (
	"context"
	"time"
)

// View is a cache of values of one type. It is safe for concurrent use.
type View[T any] struct {
	cache *Cache
}

// For returns a view of c for values of type T. It costs nothing to make one.
func For[T any](c *Cache) View[T] { return View[T]{c} }

// Get returns the value of key and whether there was one. See Cache.Get, which
// can reuse memory, for the errors.
func (v View[T]) Get(ctx context.Context, key string) (value T, found bool, err error) {
	name, err := v.cache.name(key)
	if err != nil {
		return value, false, v.cache.core.fail(ctx, "get", "", err)
	}
	if value, ok := localOf[T](v.cache.core, name); ok {
		v.cache.core.local(ctx, "get", name, hitFresh, nil)
		return value, true, nil
	}
	return getAs[T](ctx, v.cache.core, name)
}

// getAs is apart from Get because its value is allocated.
func getAs[T any](ctx context.Context, c *core, name string) (value T, found bool, err error) {
	found, err = c.get(ctx, name, c.ttl, &value)
	return value, found, c.fail(ctx, "get", name, err)
}

// localOf is the short way to a Go value that the in-process layer holds as
// such (Plaintext with L1Only).
func localOf[T any](c *core, name string) (value T, ok bool) {
	if !c.plaintext || !c.l1Only {
		return value, false
	}
	v, stale := c.l1.Get(name)
	if v == nil || stale || v.kind != localObject {
		return value, false
	}
	value, ok = v.object.(T)
	return value, ok
}

// Set is Cache.Set.
func (v View[T]) Set(ctx context.Context, key string, value T) error {
	return v.cache.Set(ctx, key, value)
}

// SetTTL is Cache.SetTTL.
func (v View[T]) SetTTL(ctx context.Context, key string, value T, ttl time.Duration) error {
	return v.cache.SetTTL(ctx, key, value, ttl)
}

// Delete is Cache.Delete.
func (v View[T]) Delete(ctx context.Context, key string) (existed bool, err error) {
	return v.cache.Delete(ctx, key)
}

// GetOrLoad returns the value of key; if there is none it runs load once, for
// all callers in this process that ask for the key meanwhile, and stores the
// result for the cache's TTL. Of all processes one runs its load, where the backend
// has locks and the load takes up to 5 s (Options.FillLock).
//
// The load runs apart from its callers: ctx bounds how long this caller waits
// and its end fails nobody else; load gets ctx's values, but a deadline of
// Options.LoadTimeout. A panic in load, or a call of runtime.Goexit, becomes
// an error for every waiter. load may use the cache, the same key included. If
// load returns ErrAbsent, that is remembered for Options.NegativeTTL and
// returned. Any other error of load is returned and not remembered. A Set or
// Delete of the key that lands during the load wins over it.
//
// Where the profile serves stale entries, an entry in the second half of its
// life is returned at once and refreshed in the background. When the backend
// cannot be reached, load runs and its value is returned. An entry that fails
// authentication is ErrAuth, and load does not run, unless Options.OnTamper
// says so. Each caller gets a value of its own.
func (v View[T]) GetOrLoad(ctx context.Context, key string, load func(ctx context.Context) (T, error)) (T, error) {
	name, err := v.cache.name(key)
	if err != nil {
		var zero T
		return zero, v.cache.core.fail(ctx, "load", "", err)
	}
	return loadAs(ctx, v.cache.core, name, v.cache.core.ttl, load)
}

// loadAs is getOrLoad with a loader of one type.
func loadAs[T any](ctx context.Context, c *core, name string, ttl time.Duration, load func(ctx context.Context) (T, error)) (value T, err error) {
	if value, ok := localOf[T](c, name); ok {
		c.local(ctx, "load", name, hitFresh, nil)
		return value, nil
	}
	return loadShared(ctx, c, name, ttl, load)
}

func loadShared[T any](ctx context.Context, c *core, name string, ttl time.Duration, load func(ctx context.Context) (T, error)) (value T, err error) {
	err = c.getOrLoad(ctx, name, &value, ttl, func(ctx context.Context) (any, error) { return load(ctx) })
	if err != nil {
		var zero T
		return zero, c.loadError(ctx, name, err)
	}
	return value, nil
}
