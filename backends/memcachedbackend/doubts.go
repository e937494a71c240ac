package memcachedbackend

import (
	"context"
	"time"
)

// drain is how long a server that answers again is given to execute what it had
// received before. Its worker threads take it up at once, but in no order with
// those that serve us.
const drain = 25 * time.Millisecond

// settle waits, if writes of any of n keys of a server were given up, until it has
// executed what it received before: a server process that stood still can execute
// such a write when it goes on.
func (b *Backend) settle(ctx context.Context, s *server, n int, key func(int) string) error {
	marks := b.doubts.Find(n, key)
	if len(marks) == 0 {
		return nil
	}
	_, _, err := run(ctx, b, s, func(se *session) (string, error) { return se.version(false) })
	if err != nil {
		return err
	}
	timer := time.NewTimer(drain)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	b.doubts.Settle(marks)
	return nil
}
