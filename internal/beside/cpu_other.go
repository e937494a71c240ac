//go:build !unix

package beside

import "time"

// CPUTime is not known here.
func CPUTime() time.Duration { return 0 }
