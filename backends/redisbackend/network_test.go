package redisbackend_test

import (
	"context"
	"net"
	"testing"

	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// network puts a proxy in front of each server, for clients that dial through
// it.
type network map[string]*testenv.FaultProxy

func proxies(tb testing.TB, servers ...*testenv.RedisServer) network {
	n := network{}
	for _, s := range servers {
		n[s.Addr()] = testenv.Proxy(tb, s.Addr())
	}
	return n
}

func (n network) dial(ctx context.Context, kind, addr string) (net.Conn, error) {
	if p := n[addr]; p != nil {
		addr = p.Addr()
	}
	var d net.Dialer
	return d.DialContext(ctx, kind, addr)
}

func (n network) each(f func(*testenv.FaultProxy)) func() {
	return func() {
		for _, p := range n {
			f(p)
		}
	}
}
