package filebackend

import (
	"context"
	"errors"
	"time"
)

// stripe is the number of the lock of a file: the first byte of its name.
func stripe(name string) int {
	return int(unhex(name[0])<<4|unhex(name[1])) % stripeCount
}

func unhex(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}

// tryLock takes the lock of name in this process and between processes, without
// waiting.
func (b *Backend) tryLock(name string) bool {
	i := stripe(name)
	select {
	case b.stripes[i] <- struct{}{}:
	default:
		return false
	}
	if ok, err := b.dir.tryLock(i); !ok || err != nil {
		<-b.stripes[i]
		return false
	}
	return true
}

// The pause between two tries of a lock that another process holds. It is held
// for the time of a rename, as a rule.
const (
	minLockPause = 20 * time.Microsecond
	maxLockPause = 2 * time.Millisecond
)

// lock is tryLock that waits until ctx ends.
func (b *Backend) lock(ctx context.Context, name string) error {
	i := stripe(name)
	select {
	case b.stripes[i] <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	for wait := minLockPause; ; wait = min(2*wait, maxLockPause) {
		ok, err := b.dir.tryLock(i)
		if ok {
			return nil
		}
		if err == nil {
			err = pause(ctx, wait)
		}
		if err != nil {
			<-b.stripes[i]
			return err
		}
	}
}

// lockLate is when a lock is late: whoever holds it has been stopped, or its disk.
const lockLate = 100 * time.Millisecond

// lockOr is lock that calls late, if not nil, when the lock is late.
func (b *Backend) lockOr(ctx context.Context, name string, late func()) error {
	if late == nil {
		return b.lock(ctx, name)
	}
	if b.tryLock(name) {
		return nil
	}
	soon, cancel := context.WithTimeout(ctx, lockLate)
	defer cancel()
	err := b.lock(soon, name)
	if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		return err
	}
	late()
	return b.lock(ctx, name)
}

func (b *Backend) unlock(name string) {
	i := stripe(name)
	b.dir.unlock(i)
	<-b.stripes[i]
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
