//go:build unix

package redisbackend

import (
	"net"
	"syscall"
)

// quiet reports whether an idle connection stands and nothing has arrived on it.
func quiet(c net.Conn) bool {
	s, ok := c.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return false
	}
	var b [1]byte
	stands := false
	// Read would have it that the deadline of the last call is over.
	err = raw.Control(func(fd uintptr) {
		_, err := syscall.Read(int(fd), b[:])
		stands = err == syscall.EAGAIN || err == syscall.EINTR
	})
	return err == nil && stands
}
