package cachekitio

import "github.com/cachekit-io/cachekit-go/internal/guard"

// Exported for tests: what reads the bodies and headers of answers.
var (
	Remaining = remaining
	LockID    = lockID
	Details   = details
)

// Refusal is the error of an answer.
func Refusal(resp *guard.Response) error { return refusal("get", resp) }
