//go:build !linux || !amd64

package testenv

import (
	"testing"
	"time"
)

// MoveClock sets the wall clock of this process, where it can.
func MoveClock(t testing.TB, _ time.Duration) {
	t.Helper()
	Missing(t, "a process's clock can be moved on Linux and amd64 alone")
}
