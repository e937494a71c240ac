package redisbackend_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// crowd makes n calls at once.
func crowd(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// Rule: reads and writes of a client that Open made cost no allocation but the
// value, on one server and on a Cluster: they do not pass through go-redis.
func TestCallsAllocateTheirValueAlone(t *testing.T) {
	for name, url := range map[string]string{"single": testenv.Redis(t, nil).URL(), "cluster": testenv.RedisCluster(t, 0).URL()} {
		b := open(t, url, nil)
		set(t, b, "k", "v")
		value := make([]byte, 100)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for call, f := range map[string]func() error{
			"Set": func() error { return b.Set(ctx, "k", value, time.Minute) },
			"Get": func() error { _, err := b.Get(ctx, "k"); return err },
		} {
			limit := map[string]float64{"single": 1, "cluster": 3}[name]
			n := testing.AllocsPerRun(100, func() {
				if err := f(); err != nil {
					t.Error(err)
				}
			})
			if n > limit {
				t.Errorf("%s: %s allocates %v times", name, call, n)
			}
		}
	}
}

// Rule: a batch that is read into the caller's memory costs no allocation for each
// value, and each lies where he said.
func TestABatchLiesInTheCallersMemory(t *testing.T) {
	_, b := server(t)
	keys := make([]string, 100)
	for i := range keys {
		keys[i] = fmt.Sprint("key ", i)
		set(t, b, keys[i], strings.Repeat("v", 10*i))
	}
	memory := make([]byte, 64<<10)
	n := testing.AllocsPerRun(100, func() {
		used := 0
		results := b.ReadMany(t.Context(), keys, func(size int) []byte {
			used += size
			return memory[used-size : used : used]
		})
		clear(memory)
		for i, r := range results {
			if r.Err != nil || len(r.Entry.Value) != 10*i || bytes.ContainsRune(r.Entry.Value, 'v') {
				t.Fatalf("value %d is of its own: %q, %v", i, r.Entry.Value, r.Err)
			}
		}
	})
	if n > 10 {
		t.Errorf("%v allocations for %d values", n, len(keys))
	}
}

// Rule: a server that was restarted while connections were idle fails no call.
func TestIdleConnectionsOfARestartedServer(t *testing.T) {
	s, b := server(t)
	crowd(8, func(i int) { set(t, b, fmt.Sprint(i), "v") })
	s.Stop()
	s.Start()
	for i := range 8 {
		if _, err := b.Get(t.Context(), fmt.Sprint(i)); !errors.Is(err, backends.ErrNotFound) {
			t.Errorf("Get = %v", err)
		}
		set(t, b, fmt.Sprint(i), "again")
	}
}

// Rule: a read on a connection that was lost a moment after its last use is made
// again.
func TestReadsOutliveALostConnection(t *testing.T) {
	s := testenv.Redis(t, nil)
	p := testenv.Proxy(t, s.Addr())
	b := open(t, s.URLAt(p.Addr()), nil)
	for range 20 {
		set(t, b, "k", "v")
		p.Cut()
		want(t, b, "k", "v")
	}
}

// Rule: a write is sent once, also when its answer is lost.
func TestDirectWritesAreSentOnce(t *testing.T) {
	s := testenv.Redis(t, nil)
	for name, call := range map[string]func(context.Context, *redisbackend.Backend) error{
		"Set": func(ctx context.Context, b *redisbackend.Backend) error {
			return b.Set(ctx, lostKey, []byte("v"), time.Minute)
		},
		"Delete": func(ctx context.Context, b *redisbackend.Backend) error { _, err := b.Delete(ctx, lostKey); return err },
		"SetMany": func(ctx context.Context, b *redisbackend.Backend) error {
			return b.SetMany(ctx, []backends.Item{{Key: lostKey, Value: []byte("v"), TTL: time.Minute}})[0]
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := testenv.Proxy(t, s.Addr())
			b := open(t, s.URLAt(p.Addr()), nil)
			set(t, b, "warm", "")
			p.StallReplies()
			done := make(chan error, 1)
			go func() { done <- call(t.Context(), b) }()
			sent := func() int { return bytes.Count(p.Sent(), []byte("\r\n"+lostKey+"\r\n")) }
			testenv.Poll(t, 5*time.Second, "the write to be sent", func() bool { return sent() > 0 })
			p.Cut()
			p.Resume()
			var failed *backends.Error
			if err := <-done; !errors.As(err, &failed) || failed.Kind != backends.Transient {
				t.Errorf("error = %v, want transient", err)
			}
			if n := sent(); n != 1 {
				t.Errorf("sent %d times", n)
			}
			want(t, b, "warm", "")
		})
	}
}

// Rule: callers who find no connection free are served by go-redis; there
// are no more than pool_size.
func TestMoreCallersThanConnections(t *testing.T) {
	s := testenv.Redis(t, nil)
	b := open(t, s.URL()+"?pool_size=2", nil)
	crowd(32, func(i int) {
		for range 20 {
			set(t, b, fmt.Sprint(i), "v")
			want(t, b, fmt.Sprint(i), "v")
		}
	})
	list := s.Do("CLIENT", "LIST").(string)
	if n := strings.Count(list, "resp=3"); n != 2 {
		t.Errorf("%d connections, want 2:\n%s", n, list)
	}
}

// Rule: the database and the name of a URL are those of every connection.
func TestDirectConnectionsUseTheDatabase(t *testing.T) {
	s := testenv.Redis(t, nil)
	b := open(t, s.URL()+"?db=3&client_name=ours", nil)
	set(t, b, "k", "v")
	if got := s.Do("EXISTS", "k"); got != int64(0) {
		t.Error("the key is in database 0")
	}
	for _, line := range strings.Split(strings.TrimSpace(s.Do("CLIENT", "LIST").(string)), "\n") {
		if strings.Contains(line, "cmd=set ") && (!strings.Contains(line, "name=ours ") || !strings.Contains(line, "db=3 ")) {
			t.Errorf("a connection of another kind: %s", line)
		}
	}
}

// Rule: connections that nobody has used for conn_max_idle_time are closed, though
// no call comes by, and those that are older than conn_max_lifetime are not used.
func TestIdleConnectionsAreClosed(t *testing.T) {
	s := testenv.Redis(t, nil)
	b := open(t, s.URL()+"?conn_max_idle_time=200ms&client_name=ours", nil)
	crowd(8, func(i int) {
		for range 20 {
			set(t, b, fmt.Sprint(i), "v")
		}
	})
	testenv.Poll(t, 10*time.Second, "idle connections to be closed", func() bool {
		return !strings.Contains(s.Do("CLIENT", "LIST").(string), "cmd=set ")
	})
	set(t, b, "k", "v")
	aged := open(t, s.URL()+"?conn_max_lifetime=1ms&client_name=aged", nil)
	set(t, aged, "k", "v")
	before := s.Do("CLIENT", "LIST").(string)
	time.Sleep(2 * time.Millisecond)
	set(t, aged, "k", "v")
	id := func(list string) string {
		for _, line := range strings.Split(list, "\n") {
			if strings.Contains(line, "name=aged ") && strings.Contains(line, "cmd=set ") {
				return strings.Fields(line)[0]
			}
		}
		return ""
	}
	if after := s.Do("CLIENT", "LIST").(string); id(before) == id(after) {
		t.Errorf("the same connection after its lifetime: %s", id(after))
	}
}

// Rule: a connection that was idle for a while serves the next call, though the
// deadline of its last one is over.
func TestIdleConnectionsServeAgain(t *testing.T) {
	s := testenv.Redis(t, nil)
	b := open(t, s.URL()+"?client_name=ours", nil)
	ids := func() (ids []string) {
		for line := range strings.Lines(s.Do("CLIENT", "LIST").(string)) {
			if strings.Contains(line, "name=ours ") {
				ids = append(ids, strings.Fields(line)[0])
			}
		}
		return ids
	}
	set(t, b, "k", "v")
	before := ids()
	for range 3 {
		time.Sleep(100 * time.Millisecond)
		set(t, b, "k", "v")
		want(t, b, "k", "v")
	}
	if after := ids(); !slices.Equal(after, before) {
		t.Errorf("connections %v, then %v", before, after)
	}
}

// Rule: a server that knows no HELLO is served by go-redis alone.
func TestServerWithoutHello(t *testing.T) {
	s := testenv.Redis(t, &testenv.RedisOptions{Password: "secret", Config: []string{`rename-command HELLO ""`}})
	b := open(t, s.URL(), nil)
	set(t, b, "k", "v")
	want(t, b, "k", "v")
}

// Rule: calls that are shorter than it takes to connect find a connection, in time.
func TestCallsShorterThanAHandshake(t *testing.T) {
	l := newLiar(t)
	b := open(t, "redis://"+l.addr, nil)
	l.tell(func(c net.Conn, command []string) bool {
		if command[0] == "hello" {
			time.Sleep(300 * time.Millisecond)
		}
		return truth(c, command)
	})
	testenv.Poll(t, 5*time.Second, "a connection", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := b.Get(ctx, "k")
		return err == nil
	})
}

// Rule: Close ends calls that are under way, with ErrClosed.
func TestCloseEndsCallsUnderWay(t *testing.T) {
	s, b := server(t)
	set(t, b, "k", "v")
	s.Pause()
	defer s.Resume()
	done := make(chan error, 2)
	go func() { _, err := b.Get(context.Background(), "k"); done <- err }()
	go func() { done <- b.Set(context.Background(), "k", nil, time.Minute) }()
	time.Sleep(50 * time.Millisecond)
	start := time.Now()
	_ = b.Close()
	for range 2 {
		if err := <-done; !errors.Is(err, backends.ErrClosed) {
			t.Errorf("error = %v, want ErrClosed", err)
		}
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("the calls ended %v after Close", took)
	}
}

// Rule: whatever a server says, a call returns values within the limit or an error,
// and a connection on which more came than was asked for serves nobody else.
func FuzzAnswers(f *testing.F) {
	for _, said := range []string{
		"$1\r\nv\r\n:5\r\n", "$-1\r\n:-2\r\n", "_\r\n", "+OK\r\n", ":1\r\n", "-MOVED 1 127.0.0.1:1\r\n",
		"*2\r\n$1\r\nv\r\n_\r\n", "*2\r\n$-1\r\n-ERR no\r\n", "$100\r\n", "*9999999\r\n", "$1\r\nvxx", "%1\r\n", "",
	} {
		f.Add([]byte(said))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		for _, a := range redisbackend.Answers(said, 64) {
			if a.Err == nil && len(a.Value) > 64 {
				t.Errorf("%s: a value of %d bytes", a.Name, len(a.Value))
			}
			if a.Kept && a.Left > 0 {
				t.Errorf("%s: the connection is kept with %d bytes unread", a.Name, a.Left)
			}
		}
	})
}
