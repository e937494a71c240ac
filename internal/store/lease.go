package store

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/counted"
)

// releaseTimeout bounds the release of a lease, which outlives the call that it
// was taken for.
const releaseTimeout = 5 * time.Second

// CanLock reports whether the backend has locks.
func (s *Store) CanLock() bool { return s.caps.Locker != nil }

// Lease takes the lock of key for d, by one attempt that does not wait. The
// caller calls release, which reports its failure to nobody: the lease ends by
// itself. If another owner holds the lock, the error is backends.ErrLocked. On a
// backend without locks the lease is always given.
func (s *Store) Lease(ctx context.Context, key string, d time.Duration) (release func(), err error) {
	if s.caps.Locker == nil {
		return func() {}, nil
	}
	token, err := s.lock(ctx, key, d)
	if err != nil {
		return nil, err
	}
	return func() { s.ReleaseMany(ctx, []backends.HeldLock{{Key: key, Token: token}}) }, nil
}

func (s *Store) lock(ctx context.Context, key string, d time.Duration) (token string, err error) {
	ctx, call := s.begin(ctx, "lock", key, 1)
	err = errPanicked
	defer func() { call.one(err == nil, err) }()
	return s.caps.Locker.Lock(ctx, key, d)
}

// LeaseMany is Lease for many keys, in one round trip where the backend can: one
// result for each, in order, which is zero if another owner has the lock. An attempt
// that fails for another reason is the error; what has been taken all the same is in
// the result, and is the caller's to release. Where each is a call of its own, none is
// begun after one that failed. The backend must have locks.
func (s *Store) LeaseMany(ctx context.Context, keys []string, d time.Duration) ([]backends.HeldLock, error) {
	if s.caps.BatchLocker == nil {
		return s.leaseEach(ctx, keys, d)
	}
	out := make([]backends.HeldLock, len(keys))
	var failure error
	var results []backends.LockResult
	ctx, call := s.begin(ctx, "lock many", "", len(keys))
	defer func() {
		call.many(len(results), func(i int) (bool, error) { return results[i].Err == nil, cmp.Or(failure, results[i].Err) })
	}()
	results = counted.Results("lock many", s.caps.BatchLocker.LockMany(ctx, keys, d), len(keys), func(r *backends.LockResult) *error { return &r.Err })
	for i, r := range results {
		switch {
		case r.Err == nil:
			out[i] = backends.HeldLock{Key: keys[i], Token: r.Token}
		case !errors.Is(r.Err, backends.ErrLocked):
			failure = r.Err
		}
	}
	return out, failure
}

func (s *Store) leaseEach(ctx context.Context, keys []string, d time.Duration) ([]backends.HeldLock, error) {
	out := make([]backends.HeldLock, len(keys))
	var mu sync.Mutex
	var failure error
	failed := func() bool { mu.Lock(); defer mu.Unlock(); return failure != nil }
	each(len(keys), func(i int) {
		if failed() {
			return
		}
		switch token, err := s.lock(ctx, keys[i], d); {
		case err == nil:
			out[i] = backends.HeldLock{Key: keys[i], Token: token}
		case !errors.Is(err, backends.ErrLocked):
			mu.Lock()
			defer mu.Unlock()
			failure = err
		}
	})
	return out, failure
}

// ReleaseMany gives locks back. ctx lends its values only. A failure is reported to
// nobody: a lease ends by itself.
func (s *Store) ReleaseMany(ctx context.Context, locks []backends.HeldLock) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	if s.caps.BatchLocker != nil && len(locks) > 1 {
		_ = s.caps.BatchLocker.UnlockMany(ctx, locks)
		return
	}
	each(len(locks), func(i int) { _, _ = s.caps.Locker.Unlock(ctx, locks[i].Key, locks[i].Token) })
}
