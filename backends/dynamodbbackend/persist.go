package dynamodbbackend

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

// Pauses between the repetitions of a part of a batch (Developer Guide, "Error
// retries and exponential backoff").
const (
	firstPause = 25 * time.Millisecond
	maxPause   = time.Second
)

// persist repeats attempt until it is done, fails for another reason than
// throttling, or ctx leaves no time for another. Pauses grow while there is no progress and are drawn
// between half and whole.
func persist(ctx context.Context, attempt func() (progress, done bool, err error)) error {
	pause := firstPause
	for {
		progress, done, err := attempt()
		if err != nil && !throttled(err) {
			return err
		}
		if err == nil && done {
			return nil
		}
		if progress {
			pause = firstPause
		}
		wait := max(pause/2+rand.N(pause/2), retryAfter(err))
		if d, ok := ctx.Deadline(); ok && time.Until(d) < wait || !sleep(ctx, wait) {
			cause := error(errUnprocessed)
			if err != nil {
				_, cause = classify(err)
			}
			return &backends.Error{Op: "batch", Backend: backendType, Kind: backends.Transient, RetryAfter: retryAfter(err), Err: cause}
		}
		pause = min(2*pause, maxPause)
	}
}

// sleep reports whether ctx outlives the pause.
func sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
