//go:build unix

package testenv

import (
	"net"

	"golang.org/x/sys/unix"
)

// wasReset reports whether the peer aborted the connection, also while bytes
// that it sent before are still unread.
func wasReset(c *net.TCPConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	reset := false
	if err := raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		reset = err == nil && n > 0 && fds[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0
	}); err != nil {
		return true
	}
	return reset
}
