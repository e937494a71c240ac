//go:build !unix

package testenv

import "net"

func wasReset(*net.TCPConn) bool { return false }
