package filebackend

import (
	"context"
	"time"
)

const (
	// tempAge is when a temporary file counts as left behind by a killed
	// process. The sister SDKs wait a minute; a large write to a slow disk with
	// an fsync can take longer.
	tempAge = 10 * time.Minute

	// A pass rests after each sweepBatch files, for sweepRest times as long as
	// they took.
	sweepBatch = 128
	sweepRest  = 4
)

// sweeper removes what has expired until the backend is closed.
func (b *Backend) sweeper() {
	defer b.release()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	t := time.NewTicker(b.opts.SweepInterval)
	defer t.Stop()
	for {
		select {
		case <-b.stop:
			return
		case <-t.C:
			_, _ = b.sweep(ctx, sweepRest)
		}
	}
}

// Sweep removes expired entries, expired locks and the temporary files of killed
// processes now, until ctx or the backend ends, and returns how many files went.
// Files of other versions, corrupt ones and foreign names are left alone.
func (b *Backend) Sweep(ctx context.Context) (removed int, err error) {
	if err := b.acquire(); err != nil {
		return 0, err
	}
	defer b.release()
	return b.sweep(ctx, 0)
}

func (b *Backend) sweep(ctx context.Context, rest time.Duration) (removed int, err error) {
	n, start := 0, time.Now()
	walkErr := b.dir.walk(func(name string, i info) bool {
		if b.sweepOne(name, i) {
			removed++
		}
		if n++; n%sweepBatch == 0 && rest > 0 {
			err = b.rest(ctx, rest*time.Since(start))
			start = time.Now()
		}
		if err == nil {
			err = ctx.Err()
		}
		return err == nil && !b.stopped()
	})
	if err == nil {
		err = wrap("sweep", walkErr)
	}
	return removed, err
}

// rest pauses, but not past the end of the backend.
func (b *Backend) rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-b.stop:
	case <-ctx.Done():
	}
	return ctx.Err()
}

func (b *Backend) sweepOne(name string, i info) bool {
	if b.sweepTemp(name, i) {
		return true
	}
	if entry, ok := isLockName(name); ok {
		return b.sweepLock(entry)
	}
	if !isEntryName(name) {
		return false
	}
	f, h, err := b.peek(nil, name)
	if err != nil {
		return false
	}
	defer f.close()
	if h.state != stateExpired {
		return false
	}
	return b.removeIfSame(name, &f)
}

func (b *Backend) sweepTemp(name string, i info) bool {
	return isTempName(name) && time.Since(time.Unix(0, i.wrote)) > tempAge && b.dir.remove(name) == nil
}

func (b *Backend) sweepLock(entry string) bool {
	if !b.tryLock(entry) {
		return false
	}
	defer b.unlock(entry)
	_, held, err := b.readLock(entry)
	return err == nil && !held && b.dir.remove(lockPrefix+entry) == nil
}
