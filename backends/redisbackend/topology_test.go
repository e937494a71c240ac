package redisbackend_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// many are keys that spread over every node.
func many(n int) ([]string, []backends.Item) {
	keys := make([]string, n)
	items := make([]backends.Item, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("spread:%03d", i)
		items[i] = backends.Item{Key: keys[i], Value: []byte(keys[i]), TTL: time.Minute}
	}
	return keys, items
}

func fill(t *testing.T, b *redisbackend.Backend, items []backends.Item) {
	t.Helper()
	for i, err := range b.SetMany(t.Context(), items) {
		if err != nil {
			t.Fatalf("SetMany: item %d: %v", i, err)
		}
	}
}

// Rule: on a Cluster, every method works on keys of every node, and a walk
// visits every master.
func TestCluster(t *testing.T) {
	c := testenv.RedisCluster(t, 0)
	b := open(t, c.URL(), nil)
	keys, items := many(300)
	fill(t, b, items)
	for i, r := range b.GetMany(t.Context(), keys) {
		if r.Err != nil || string(r.Entry.Value) != keys[i] {
			t.Fatalf("GetMany: %q, %v", r.Entry.Value, r.Err)
		}
	}
	for _, n := range c.Masters {
		if size := n.Do("DBSIZE").(int64); size < 50 {
			t.Errorf("a master holds %d keys of 300", size)
		}
	}
	if got := scan(t, b, "spread:", 20); !slices.Equal(got, keys) {
		t.Errorf("Scan found %d of %d keys", len(got), len(keys))
	}
	for _, key := range keys[:20] {
		want(t, b, key, key)
		token, err := b.Lock(t.Context(), key, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := b.Unlock(t.Context(), key, token); !ok || err != nil {
			t.Errorf("Unlock = %v, %v", ok, err)
		}
		if ok, err := b.Swap(t.Context(), key, []byte(key), []byte("new")); !ok || err != nil {
			t.Errorf("Swap = %v, %v", ok, err)
		}
		if e, err := b.GetEntry(t.Context(), key); err != nil || string(e.Value) != "new" || e.TTL <= 0 {
			t.Errorf("GetEntry = %+v, %v", e, err)
		}
	}
	if h := b.Health(t.Context()); !h.OK || h.Details["mode"] != "cluster" {
		t.Errorf("Health = %+v", h)
	}
}

// Rule: one dead node fails its own keys alone, and no write of a batch is
// reported as done that was not.
func TestClusterWithADeadNode(t *testing.T) {
	c := testenv.RedisCluster(t, 0)
	for _, n := range c.Masters {
		n.Do("CONFIG", "SET", "cluster-require-full-coverage", "no")
	}
	b := open(t, c.URL(), nil)
	keys, items := many(60)
	fill(t, b, items)
	c.Masters[1].Stop()
	failed := 0
	for i, r := range b.GetMany(t.Context(), keys) {
		switch {
		case r.Err == nil && string(r.Entry.Value) == keys[i]:
		case backends.IsOutage(r.Err):
			failed++
		default:
			t.Errorf("key %d: %q, %v", i, r.Entry.Value, r.Err)
		}
	}
	if failed == 0 || failed == len(keys) {
		t.Errorf("%d of %d keys failed", failed, len(keys))
	}
	var held []backends.HeldLock
	for i, r := range b.LockMany(t.Context(), keys, time.Minute) {
		if r.Err == nil {
			held = append(held, backends.HeldLock{Key: keys[i], Token: r.Token})
		} else if !backends.IsOutage(r.Err) {
			t.Errorf("LockMany: key %d: %v", i, r.Err)
		}
	}
	if len(held) == 0 || len(held) == len(keys) {
		t.Errorf("LockMany took %d of %d locks", len(held), len(keys))
	}
	for i, r := range b.UnlockMany(t.Context(), held) {
		if !r.Released || r.Err != nil {
			t.Errorf("UnlockMany: result %d = %+v", i, r)
		}
	}
	refused := 0
	for _, err := range b.SetMany(t.Context(), items) {
		if err != nil {
			refused++
		}
	}
	if refused != failed {
		t.Errorf("SetMany failed %d keys, GetMany %d", refused, failed)
	}
}

// Rule: a read follows a slot that moves.
func TestClusterFollowsRedirections(t *testing.T) {
	c := testenv.RedisCluster(t, 0)
	b := open(t, c.URL(), nil)
	const key = "moving"
	set(t, b, key, "v")
	slot := c.Masters[0].Do("CLUSTER", "KEYSLOT", key)
	from := slices.IndexFunc(c.Masters, func(n *testenv.RedisServer) bool { v, ok := n.Try("GET", key); return ok && v != nil })
	source, target := c.Masters[from], c.Masters[(from+1)%3]
	target.Do("CLUSTER", "SETSLOT", slot, "IMPORTING", source.Do("CLUSTER", "MYID"))
	source.Do("CLUSTER", "SETSLOT", slot, "MIGRATING", target.Do("CLUSTER", "MYID"))
	host, port, _ := strings.Cut(target.Addr(), ":")
	source.Do("MIGRATE", host, port, key, 0, 5000)
	check := func(state string) {
		t.Helper()
		got, err := b.Get(t.Context(), key)
		e, eerr := b.GetEntry(t.Context(), key)
		r := b.GetMany(t.Context(), []string{key})
		if string(got) != "v" || string(e.Value) != "v" || string(r[0].Entry.Value) != "v" {
			t.Errorf("%s: Get %q %v, GetEntry %q %v, GetMany %q %v", state, got, err, e.Value, eerr, r[0].Entry.Value, r[0].Err)
		}
		set(t, b, key, "v")
	}
	check("while the slot moves")
	for _, n := range c.Masters {
		n.Do("CLUSTER", "SETSLOT", slot, "NODE", target.Do("CLUSTER", "MYID"))
	}
	check("after the slot moved")
}

// Rule: after a failover the backend finds the new master by itself.
func TestSentinelFailover(t *testing.T) {
	s := testenv.RedisSentinel(t)
	a := s.Addrs()
	b := open(t, fmt.Sprintf("redis://%s?master_name=%s&addr=%s&addr=%s", a[0], s.Name, a[1], a[2]), nil)
	set(t, b, "k", "before")
	old := s.Master()
	s.Failover()
	testenv.Poll(t, 20*time.Second, "a write on the new master", func() bool {
		return b.Set(t.Context(), "k", []byte("after"), time.Minute) == nil
	})
	if got := s.Master().Do("GET", "k"); got != "after" || s.Master() == old {
		t.Errorf("the new master has %v", got)
	}
	want(t, b, "k", "after")
	s.Master().Pause()
	quick(t, true, func(ctx context.Context) error { _, err := b.Get(ctx, "k"); return err })
	quick(t, false, func(ctx context.Context) error { return b.Set(ctx, "k", nil, time.Minute) })
	s.Master().Resume()
}

// Rule: a Ring is used as it is: keys by shard, one shard's death its own.
func TestRing(t *testing.T) {
	one, two := testenv.Redis(t, nil), testenv.Redis(t, nil)
	b := newOver(t, redis.NewRing(&redis.RingOptions{
		Addrs:                 map[string]string{"one": one.Addr(), "two": two.Addr()},
		ContextTimeoutEnabled: true, MaxRetries: -1,
	}))
	keys, items := many(60)
	fill(t, b, items)
	for i, r := range b.GetMany(t.Context(), keys) {
		if r.Err != nil || string(r.Entry.Value) != keys[i] {
			t.Fatalf("GetMany: %q, %v", r.Entry.Value, r.Err)
		}
	}
	if got := scan(t, b, "spread:", 5); !slices.Equal(got, keys) {
		t.Errorf("Scan found %d of %d keys", len(got), len(keys))
	}
	if ok, err := b.Swap(t.Context(), keys[0], []byte(keys[0]), []byte("new")); !ok || err != nil {
		t.Errorf("Swap = %v, %v", ok, err)
	}
	one.Pause()
	two.Pause()
	quick(t, true, func(ctx context.Context) error { _, err := b.Get(ctx, keys[0]); return err })
	quick(t, true, func(ctx context.Context) error { return errors.Join(b.SetMany(ctx, items[:1])...) })
	one.Resume()
	two.Resume()
}
