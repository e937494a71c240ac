package testenv

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// The ports of FreePorts: above those that well-known services listen on, below
// those that Linux (net.ipv4.ip_local_port_range, from 32768) and the others (from
// 49152, RFC 6335 section 6) give to outgoing connections. A server that is stopped
// and started again finds its port free, whatever connected to whom meanwhile.
const (
	firstPort = 10_000
	lastPort  = 32_767
)

// FreePorts returns n different ports of 127.0.0.1 that were free a moment ago and
// that no outgoing connection gets. Another process can take one before the caller
// does; the starters of this package notice that and try again with others.
func FreePorts(t testing.TB, n int) []int {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		l := listen(t)
		defer l.Close() // held until all are found, so that they differ
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports
}

// listen listens on a port like those of FreePorts.
func listen(t testing.TB) net.Listener {
	t.Helper()
	var err error
	for range 100 {
		var l net.Listener
		if l, err = net.Listen("tcp", loopback(firstPort+rand.IntN(lastPort-firstPort+1))); err == nil {
			return l
		}
	}
	t.Fatalf("find a free port: %v", err)
	return nil
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
