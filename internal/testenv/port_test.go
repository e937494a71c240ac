package testenv_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// A server that was stopped finds its port taken, now and then, if the system
// may give it to a connection.
func TestFreePortsAreNotThoseOfConnections(t *testing.T) {
	first := 32768
	if s, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		if first, err = strconv.Atoi(strings.Fields(string(s))[0]); err != nil {
			t.Fatal(err)
		}
	}
	if first < 1<<15 {
		t.Skipf("this machine gives ports from %d on to connections", first)
	}
	seen := map[int]bool{}
	for _, p := range testenv.FreePorts(t, 20) {
		if p >= first {
			t.Errorf("port %d can become a connection's", p)
		}
		seen[p] = true
	}
	if len(seen) != 20 {
		t.Errorf("%d different ports of 20", len(seen))
	}
}
