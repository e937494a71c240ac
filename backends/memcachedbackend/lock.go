package memcachedbackend

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/token"
)

// lockSuffix is what the family puts after a key to name its lock.
const lockSuffix = ":lock"

// lockName returns the key of the lock of key: key:lock, or a hash of key if
// that is too long.
func lockName(key string) string {
	if len(key)+len(lockSuffix) <= maxKeyBytes {
		return key + lockSuffix
	}
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:]) + lockSuffix
}

// Lock implements [backends.Locker] with add. If a reply is lost, the attempt
// is repeated once, under the same token. When Lock fails for another reason
// than ErrLocked, a lock may be left that nobody holds; it ends with its lease.
// A lease is rounded and bounded as a TTL is, and memcached can evict a lock
// as it can evict an entry.
func (b *Backend) Lock(ctx context.Context, key string, lease time.Duration) (string, error) {
	if err := rules.Check(key); err != nil {
		return "", err
	}
	if lease <= 0 {
		return "", backends.ErrTTL
	}
	proof := token.New()
	lock := memcache.Item{Key: lockName(key), Value: []byte(proof), Expiration: seconds(lease)}
	lost := false
	attempt := func(se *session) (struct{}, error) {
		err := se.store(func() error { return se.client.Add(&lock) })
		if errors.Is(err, memcache.ErrNotStored) {
			err = lockedBy(se, lock.Key, proof, lost)
		}
		lost = err != nil
		return struct{}{}, err
	}
	_, err := write(ctx, b, "lock", lock.Key, attempt)
	var failed *backends.Error
	if errors.As(err, &failed) && failed.Kind == backends.Transient && lost {
		_, err = write(ctx, b, "lock", lock.Key, attempt)
	}
	if err != nil {
		return "", err
	}
	return proof, nil
}

// lockedBy returns nil if the lock is held under token, which it can only be
// after an attempt whose answer was lost.
func lockedBy(se *session, name, token string, lost bool) error {
	if !lost {
		return backends.ErrLocked
	}
	it, err := se.get(name, len(token))
	switch {
	case errors.Is(err, memcache.ErrCacheMiss), err == nil && !same(it.Value, token):
		return backends.ErrLocked
	}
	return err
}

func same(owner []byte, token string) bool {
	return subtle.ConstantTimeCompare(owner, []byte(token)) == 1
}

// Unlock implements [backends.Locker]: memcached has no delete on condition, so
// a compare-and-swap replaces the token by an item that has expired already.
func (b *Backend) Unlock(ctx context.Context, key, token string) (bool, error) {
	if err := rules.Check(key); err != nil {
		return false, err
	}
	name := lockName(key)
	return write(ctx, b, "unlock", name, func(se *session) (bool, error) {
		it, err := se.get(name, maxLine)
		switch {
		case errors.Is(err, memcache.ErrCacheMiss), err == nil && !same(it.Value, token):
			return false, nil
		case err != nil:
			return false, err
		case it.CasID == 0:
			return false, errNoCAS
		}
		gone := memcache.Item{Key: name, Expiration: -1, CasID: it.CasID}
		released, err := se.compareAndSwap(&gone)
		if errors.Is(err, memcache.ErrCASConflict) {
			return false, nil
		}
		return released, err
	})
}
