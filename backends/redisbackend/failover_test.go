package redisbackend_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// Redis replicates in the background, so it may itself lose what it has
// acknowledged when a master dies. What it cannot lose is what the replica had
// confirmed (WAIT) before, and what the new master acknowledged afterwards:
// that is what these tests hold a backend to, and a bare go-redis in the same
// run, so that a rule which Redis itself breaks shows.

// writer stores ever higher numbers under one key.
type writer struct {
	key  string
	bare bool
	set  func(ctx context.Context, key, value string) error
	// confirm reports whether the replica has all that was written until now.
	confirm func(ctx context.Context) bool

	attempted, acked, kept int           // the last number of each kind
	late                   atomic.Int32  // acknowledged by the new master
	back                   time.Duration // from the event to the first of these
	strange                error         // not an outage
}

// failover is an event under load, and how it ended.
type failover struct {
	began time.Time
	// over is true once no other server than the new master can acknowledge.
	over atomic.Bool
	stop chan struct{}
	done sync.WaitGroup
}

func (f *failover) write(w *writer) {
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	for {
		select {
		case <-f.stop:
			return
		case <-pace.C:
		}
		late := f.over.Load()
		w.attempted++
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		err := w.set(ctx, w.key, fmt.Sprintf("%s %d", w.key, w.attempted))
		switch {
		case err != nil:
			w.note(err)
		case late:
			if w.acked, w.kept = w.attempted, w.attempted; w.late.Add(1) == 1 {
				w.back = time.Since(f.began)
			}
		default:
			if w.acked = w.attempted; w.confirm(ctx) {
				w.kept = w.attempted
			}
		}
		cancel()
	}
}

// note keeps an error that a failover does not excuse.
func (w *writer) note(err error) {
	if !w.bare && !errors.Is(err, context.DeadlineExceeded) && !backends.IsOutage(err) {
		w.strange = err
	}
}

// read checks meanwhile that every key has a value of its own.
func (f *failover) read(t *testing.T, b *redisbackend.Backend, keys []string) {
	check := func(key string, v []byte, err error) {
		own := strings.HasPrefix(string(v), key+" ") || errors.Is(err, backends.ErrNotFound)
		if err == nil && !own || err != nil && !own && !errors.Is(err, context.DeadlineExceeded) && !backends.IsOutage(err) {
			t.Errorf("Get = %q, %v", v, err)
		}
	}
	for {
		for _, key := range keys {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			v, err := b.Get(ctx, key)
			check(key, v, err)
			cancel()
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		for i, r := range b.GetMany(ctx, keys) {
			check(keys[i], r.Entry.Value, r.Err)
		}
		cancel()
		select {
		case <-f.stop:
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// run starts the load, lets event happen in it, and judges what is left.
func run(t *testing.T, b *redisbackend.Backend, writers []*writer, event func()) {
	t.Helper()
	f := &failover{stop: make(chan struct{})}
	var keys []string
	for _, w := range writers {
		if keys = append(keys, w.key); w.bare {
			keys = keys[:len(keys)-1]
		}
		f.done.Go(func() { f.write(w) })
	}
	f.done.Go(func() { f.read(t, b, keys) })
	end := sync.OnceFunc(func() { close(f.stop); f.done.Wait() })
	defer end()

	time.Sleep(500 * time.Millisecond) // of load
	f.began = time.Now()
	event()
	f.over.Store(true)
	testenv.Poll(t, 40*time.Second, "every writer to be served by the new master", func() bool {
		for _, w := range writers {
			if w.late.Load() < 20 {
				return false
			}
		}
		return true
	})
	end()
	for _, w := range writers {
		w.judge(t, b)
	}
}

func (w *writer) judge(t *testing.T, b *redisbackend.Backend) {
	t.Helper()
	v, err := b.Get(t.Context(), w.key)
	var n int
	if _, scanned := fmt.Sscanf(string(v), w.key+" %d", &n); err != nil || scanned != nil {
		t.Fatalf("%s holds %q, %v", w.key, v, err)
	}
	t.Logf("%-12s written %d, acknowledged %d, sure to be kept %d, found %d; the new master served it after %v",
		w.key, w.attempted, w.acked, w.kept, n, w.back.Round(time.Millisecond))
	if n < w.kept || n > w.attempted {
		t.Errorf("%s: write %d of %d is found, but %d was confirmed", w.key, n, w.attempted, w.kept)
	}
	if w.strange != nil {
		t.Errorf("%s: a write failed with %v, which is no outage", w.key, w.strange)
	}
}

// single and batch write by two ways of the backend.
func single(b *redisbackend.Backend) func(context.Context, string, string) error {
	return func(ctx context.Context, key, value string) error {
		return b.Set(ctx, key, []byte(value), time.Hour)
	}
}

func batched(b *redisbackend.Backend) func(context.Context, string, string) error {
	return func(ctx context.Context, key, value string) error {
		item := backends.Item{Key: key, Value: []byte(value), TTL: time.Hour}
		return b.SetMany(ctx, []backends.Item{item, {Key: key + ".beside", Value: item.Value, TTL: time.Hour}})[0]
	}
}

func bare(c redis.UniversalClient) func(context.Context, string, string) error {
	return func(ctx context.Context, key, value string) error {
		return c.Set(ctx, key, value, time.Hour).Err()
	}
}

// replicated returns a confirm that writes to the master past the backend and
// waits until the replica has that: it has everything before it then.
func replicated(t *testing.T, master *testenv.RedisServer, key string) func(context.Context) bool {
	c := redis.NewClient(&redis.Options{Addr: master.Addr(), ContextTimeoutEnabled: true, MaxRetries: -1, PoolSize: 1, Protocol: 2, DialerRetries: 1})
	t.Cleanup(func() { _ = c.Close() })
	return func(ctx context.Context) bool {
		p := c.Pipeline()
		p.Set(ctx, key, "", time.Hour)
		replicas := p.Do(ctx, "wait", 1, 500)
		_, err := p.Exec(ctx)
		n, _ := replicas.Int()
		return err == nil && n >= 1
	}
}

func always(context.Context) bool { return true }

// clusterWriters are three writers for each master. Their keys carry a tag of a
// slot of that master.
func clusterWriters(t *testing.T, c *testenv.Cluster, confirm func(master int, tag string) func(context.Context) bool) (*redisbackend.Backend, []*writer) {
	t.Helper()
	b := open(t, c.URL(), nil)
	// By itself, go-redis looks for a new master after a minute.
	other := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs(), ContextTimeoutEnabled: true, ClusterStateReloadInterval: time.Second})
	t.Cleanup(func() { _ = other.Close() })
	var writers []*writer
	for master, tags := 0, 0; master < len(c.Masters); tags++ {
		tag := fmt.Sprintf("{%d}", tags)
		if slot := c.Masters[0].Do("CLUSTER", "KEYSLOT", tag).(int64); int(slot)*len(c.Masters)/16384 != master {
			continue
		}
		for _, w := range []*writer{
			{key: "single" + tag, set: single(b)}, {key: "batched" + tag, set: batched(b)}, {key: "bare" + tag, set: bare(other), bare: true},
		} {
			w.confirm = confirm(master, w.key)
			writers = append(writers, w)
		}
		master++
	}
	return b, writers
}

// Rule: when a master of a Cluster dies under load, the backend goes on by
// itself with the promoted replica, and nothing is lost that Redis kept.
func TestClusterMasterDiesUnderLoad(t *testing.T) {
	c := testenv.RedisCluster(t, 3)
	b, writers := clusterWriters(t, c, func(master int, key string) func(context.Context) bool {
		return replicated(t, c.Masters[master], "confirm"+key[strings.Index(key, "{"):])
	})
	run(t, b, writers, c.Masters[1].Stop)
}

// Rule: a manual failover of a Cluster, in which Redis loses nothing, loses
// nothing here either: every acknowledged write is found.
func TestClusterManualFailoverUnderLoad(t *testing.T) {
	c := testenv.RedisCluster(t, 3)
	b, writers := clusterWriters(t, c, func(int, string) func(context.Context) bool { return always })
	run(t, b, writers, func() { c.Failover(1) })
}

func sentinelWriters(t *testing.T, s *testenv.Sentinel) (*redisbackend.Backend, []*writer) {
	t.Helper()
	a := s.Addrs()
	b := open(t, fmt.Sprintf("redis://%s?master_name=%s&addr=%s&addr=%s", a[0], s.Name, a[1], a[2]), nil)
	other := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: s.Name, SentinelAddrs: a, ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { _ = other.Close() })
	writers := []*writer{{key: "single", set: single(b)}, {key: "batched", set: batched(b)}, {key: "bare", set: bare(other), bare: true}}
	for _, w := range writers {
		w.confirm = replicated(t, s.Master(), "confirm."+w.key)
	}
	return b, writers
}

// Rule: when the master of a Sentinel dies under load, likewise.
func TestSentinelMasterDiesUnderLoad(t *testing.T) {
	s := testenv.RedisSentinel(t)
	b, writers := sentinelWriters(t, s)
	run(t, b, writers, s.Master().Stop)
}

// Rule: when the Sentinels switch masters under load, likewise. The old master
// lives and acknowledges what is lost, until it is told that it is a replica.
func TestSentinelSwitchUnderLoad(t *testing.T) {
	s := testenv.RedisSentinel(t)
	b, writers := sentinelWriters(t, s)
	old := s.Master()
	run(t, b, writers, func() {
		s.Failover()
		testenv.Poll(t, 30*time.Second, "the old master to follow the new one", func() bool {
			info, ok := old.Try("INFO", "replication")
			return ok && strings.Contains(fmt.Sprint(info), "role:slave\r\n")
		})
	})
}
