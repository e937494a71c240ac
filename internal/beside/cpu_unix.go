//go:build unix

package beside

import (
	"syscall"
	"time"
)

// CPUTime is what this process has used, in user and kernel mode.
func CPUTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
