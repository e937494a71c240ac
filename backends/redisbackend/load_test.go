package redisbackend_test

import (
	"io"
	"net"
	"sync"
	"testing"

	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// load keeps 60 connections busy until the test ends, so that the server uses
// its I/O threads.
func load(t *testing.T, s *testenv.RedisServer) {
	t.Helper()
	var wg sync.WaitGroup
	for range 60 {
		conn, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		wg.Go(func() {
			pong := make([]byte, 7)
			for {
				if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
					return
				}
				if _, err := io.ReadFull(conn, pong); err != nil {
					return
				}
			}
		})
	}
	t.Cleanup(func() {
		s.Stop()
		wg.Wait()
	})
}
