package store

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
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
	return func() { s.ReleaseMany(ctx, []Held{{key, token}}) }, nil
}

func (s *Store) lock(ctx context.Context, key string, d time.Duration) (token string, err error) {
	ctx, call := s.begin(ctx, "lock", key, 1)
	err = errPanicked
	defer func() { call.one(err == nil, err) }()
	return s.caps.Locker.Lock(ctx, key, d)
}

// Held is a lock that LeaseMany has taken; the zero value is none.
type Held struct{ key, token string }

// LeaseMany is Lease for many keys: one result for each, in order, which is zero
// if another owner has the lock. The first attempt that fails for another reason
// ends it with that error; what has been taken by then is in the result, and is the
// caller's to release. The backend must have locks.
func (s *Store) LeaseMany(ctx context.Context, keys []string, d time.Duration) ([]Held, error) {
	out := make([]Held, len(keys))
	var mu sync.Mutex
	var failure error
	failed := func() bool { mu.Lock(); defer mu.Unlock(); return failure != nil }
	each(len(keys), func(i int) {
		if failed() {
			return
		}
		switch token, err := s.lock(ctx, keys[i], d); {
		case err == nil:
			out[i] = Held{keys[i], token}
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
func (s *Store) ReleaseMany(ctx context.Context, locks []Held) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	each(len(locks), func(i int) {
		if locks[i] != (Held{}) {
			_, _ = s.caps.Locker.Unlock(ctx, locks[i].key, locks[i].token)
		}
	})
}
