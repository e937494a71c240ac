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

// MoveClock sets the wall clock of the process, where it can.
func (p *Process) MoveClock(time.Duration) {
	p.t.Helper()
	Missing(p.t, "a process's clock can be moved on Linux and amd64 alone")
}

type processClock struct{}
