package testenv_test

import (
	"bytes"
	"context"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// go-redis itself leaves a dialling goroutine behind for up to a second.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

func TestRedisStartsStopsAndPauses(t *testing.T) {
	s := testenv.Redis(t, &testenv.RedisOptions{Password: "p@ss:word"})
	opts, err := redis.ParseURL(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	opts.MaxRetries, opts.ContextTimeoutEnabled = -1, true
	client := redis.NewClient(opts)
	defer client.Close()
	ping := func(limit time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		return client.Ping(ctx).Err()
	}
	if err := ping(5 * time.Second); err != nil {
		t.Fatalf("running: %v", err)
	}
	s.Pause()
	if err := ping(50 * time.Millisecond); err == nil {
		t.Error("a paused server answered")
	}
	s.Resume()
	if err := ping(5 * time.Second); err != nil {
		t.Errorf("resumed: %v", err)
	}
	s.Stop()
	if err := ping(5 * time.Second); err == nil {
		t.Error("a stopped server answered")
	}
	s.Start()
	testenv.Poll(t, 5*time.Second, "the client to reconnect", func() bool { return ping(time.Second) == nil })
	if s.Do("CONFIG", "GET", "save").([]any)[1] != "" {
		t.Error("persistence is on")
	}
}

func TestRedisOnUnixSocket(t *testing.T) {
	s := testenv.Redis(t, nil)
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: s.Socket()})
	defer client.Close()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
}

func TestRedisCluster(t *testing.T) {
	c := testenv.RedisCluster(t, 1)
	opts, err := redis.ParseClusterURL(c.URL())
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClusterClient(opts)
	defer client.Close()
	for _, key := range []string{"a", "b", "c", "d", "e", "f"} {
		if err := client.Set(t.Context(), key, key, time.Minute).Err(); err != nil {
			t.Errorf("set %s: %v", key, err)
		}
	}
}

func TestRedisSentinelFailsOver(t *testing.T) {
	s := testenv.RedisSentinel(t)
	before := s.Master()
	s.Failover()
	if after := s.Master(); after == before || after == nil {
		t.Errorf("master is still %s", before.Addr())
	}
}

func TestProcessPrintsItsLog(t *testing.T) {
	p := testenv.Start(t, exec.Command(testenv.RequireTool(t, "sh"), "-c", "echo out of luck >&2; exit 3"))
	testenv.Poll(t, 5*time.Second, "the shell to end", p.Exited)
	if got := p.Log(); got != "out of luck" {
		t.Errorf("log = %q", got)
	}
}

func TestProxyRecordsAndCuts(t *testing.T) {
	s := testenv.Redis(t, nil)
	p := testenv.Proxy(t, s.Addr())
	conn := dial(t, p)
	roundTrip(t, conn, "PING\r\n", "+PONG\r\n")
	if !bytes.Equal(p.Sent(), []byte("PING\r\n")) || !bytes.Equal(p.Received(), []byte("+PONG\r\n")) {
		t.Errorf("recorded %q and %q", p.Sent(), p.Received())
	}
	p.Cut()
	if _, err := conn.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "EOF") {
		t.Errorf("read after Cut: %v, want a reset", err)
	}
}

// Rule: a stalled connection loses nothing if its client waits or closes, and
// everything unsent if its client aborts.
func TestProxyStall(t *testing.T) {
	for _, end := range []struct {
		name      string
		end       func(*net.TCPConn)
		delivered bool
	}{
		{"client waits", func(*net.TCPConn) {}, true},
		{"client closes", func(c *net.TCPConn) { _ = c.Close() }, true},
		{"client aborts", func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() }, false},
	} {
		t.Run(end.name, func(t *testing.T) {
			s := testenv.Redis(t, nil)
			p := testenv.Proxy(t, s.Addr())
			conn := dial(t, p)
			roundTrip(t, conn, "SET k before\r\n", "+OK\r\n")
			p.Stall()
			write(t, conn, "SET k after\r\n")
			testenv.Poll(t, 5*time.Second, "the proxy to take the bytes", func() bool {
				return bytes.HasSuffix(p.Sent(), []byte("after\r\n"))
			})
			if got := s.Do("GET", "k"); got != "before" {
				t.Fatalf("k = %v during the stall", got)
			}
			end.end(conn)
			p.Resume()
			// A later request on the same path is answered after the held bytes passed.
			roundTrip(t, dial(t, p), "PING\r\n", "+PONG\r\n")
			if end.delivered {
				testenv.Poll(t, 5*time.Second, "the held bytes to arrive", func() bool { return s.Do("GET", "k") == "after" })
			} else if got := s.Do("GET", "k"); got != "before" {
				t.Errorf("k = %v: bytes of an aborted connection were delivered", got)
			}
		})
	}
}

func TestProxyStallReplies(t *testing.T) {
	s := testenv.Redis(t, nil)
	p := testenv.Proxy(t, s.Addr())
	conn := dial(t, p)
	p.StallReplies()
	write(t, conn, "SET k v\r\n")
	testenv.Poll(t, 5*time.Second, "the request to arrive", func() bool { return s.Do("GET", "k") == "v" })
	p.Resume()
	read(t, conn, "+OK\r\n")
}

func dial(t *testing.T, p *testenv.FaultProxy) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	return conn.(*net.TCPConn)
}

func write(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := conn.Read(got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v, want %q", got, err, want)
	}
}

func roundTrip(t *testing.T, conn net.Conn, request, want string) {
	t.Helper()
	write(t, conn, request)
	read(t, conn, want)
}
