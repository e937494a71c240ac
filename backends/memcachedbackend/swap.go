package memcachedbackend

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/cachekit-io/cachekit-go/backends"
)

// Swap implements [backends.Swapper] with a meta get and a compare-and-swap on
// the entry's CAS number. memcached cannot keep a TTL while it stores, so the
// remaining one is stored anew: it can come out one second longer, and a Touch
// of another client that lands between the two requests is undone.
func (b *Backend) Swap(ctx context.Context, key string, old, new []byte) (bool, error) {
	if err := b.checkItem("swap", key, new, backends.NoExpiry); err != nil {
		return false, err
	}
	for {
		swapped, err := write(ctx, b, "swap", key, func(se *session) (bool, error) {
			if b.opts.ClassicProtocol {
				return false, errNoMeta
			}
			return b.swap(se, key, old, new)
		})
		if !errors.Is(err, memcache.ErrCASConflict) {
			return swapped, err
		}
	}
}

// Replace implements [backends.Replacer] with a get and a compare-and-swap on the
// entry's CAS number.
func (b *Backend) Replace(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	if err := b.checkItem("replace", key, new, ttl); err != nil {
		return false, err
	}
	for {
		replaced, err := write(ctx, b, "replace", key, func(se *session) (bool, error) {
			return b.replace(se, key, old, memcache.Item{Key: key, Value: new, Expiration: seconds(ttl)})
		})
		if !errors.Is(err, memcache.ErrCASConflict) {
			return replaced, err
		}
	}
}

// replace tries once, as swap does.
func (b *Backend) replace(se *session, key string, old []byte, new memcache.Item) (bool, error) {
	it, err := se.get(key, b.opts.MaxValueBytes)
	switch {
	case errors.Is(err, memcache.ErrCacheMiss):
		return false, nil
	case err != nil:
		return false, err
	case !bytes.Equal(it.Value, old):
		return false, nil
	case it.CasID == 0:
		return false, errNoCAS
	}
	new.CasID = it.CasID
	return se.compareAndSwap(&new)
}

// compareAndSwap stores an item over the one of its CAS number.
func (se *session) compareAndSwap(it *memcache.Item) (bool, error) {
	err := se.store(func() error { return se.client.CompareAndSwap(it) })
	if errors.Is(err, memcache.ErrCacheMiss) || errors.Is(err, memcache.ErrNotStored) {
		return false, nil
	}
	return err == nil, err
}

// swap tries once. The error is ErrCASConflict if the entry was stored anew
// meanwhile, perhaps with the same bytes.
func (b *Backend) swap(se *session, key string, old, new []byte) (bool, error) {
	start := time.Now()
	it, err := se.meta(key, "kvtfc", b.opts.MaxValueBytes)
	switch {
	case errors.Is(err, memcache.ErrCacheMiss):
		return false, nil
	case err != nil:
		return false, err
	case !bytes.Equal(it.value, old):
		return false, nil
	case it.cas == 0:
		return false, errNoCAS
	}
	stored := memcache.Item{Key: key, Value: new, Flags: it.flags, CasID: it.cas}
	if it.ttl >= 0 {
		left := max(it.ttl-int64(time.Since(start)/time.Second), 1)
		stored.Expiration = int32(min(left, maxSeconds))
	}
	return se.compareAndSwap(&stored)
}
