package testenv

import (
	"net"
	"strconv"
	"testing"
)

// FreePorts returns n different ports of 127.0.0.1 that were free a moment ago.
// Another process can take one before the caller does; the starters of this
// package notice that and try again with others.
func FreePorts(t testing.TB, n int) []int {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatalf("find a free port: %v", err)
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
