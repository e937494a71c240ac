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

// meanwhile is a hook that runs f once, before the EXEC of a transaction is sent.
type meanwhile struct{ f func() }

func (m *meanwhile) DialHook(next redis.DialHook) redis.DialHook { return next }

func (m *meanwhile) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (m *meanwhile) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if f := m.f; f != nil && slices.ContainsFunc(cmds, func(cmd redis.Cmder) bool { return cmd.Name() == "exec" }) {
			m.f = nil
			f()
		}
		return next(ctx, cmds)
	}
}

// swapper returns a backend with one connection, so that what one call leaves
// behind on it shows in the next, and what happens before its next EXEC.
func swapper(t *testing.T, opts *redis.Options) (*redisbackend.Backend, *meanwhile) {
	t.Helper()
	opts.PoolSize = 1
	client, m := redis.NewClient(opts), new(meanwhile)
	b := newOver(t, client)
	client.AddHook(m)
	return b, m
}

// pairs are the swaps of k0 to k<n-1> from "old" to "new".
func pairs(n int) (items []backends.SwapItem) {
	for i := range n {
		items = append(items, backends.SwapItem{Key: fmt.Sprint("app:k", i), Old: []byte("old"), New: []byte("new")})
	}
	return items
}

func fillPairs(t *testing.T, b *redisbackend.Backend, items []backends.SwapItem) {
	t.Helper()
	for _, it := range items {
		set(t, b, it.Key, string(it.Old))
	}
}

// swaps runs SwapMany and compares what it says, and what is stored then.
func swaps(t *testing.T, b *redisbackend.Backend, items []backends.SwapItem, stored map[int]string) {
	t.Helper()
	for i, r := range b.SwapMany(t.Context(), items) {
		value, changed := stored[i]
		if r.Err != nil || r.Swapped == changed {
			t.Errorf("result %d = %t, %v", i, r.Swapped, r.Err)
		}
		if !changed {
			value = string(items[i].New)
		}
		if got, err := b.Get(t.Context(), items[i].Key); string(got) != value || (err != nil) != (value == "") {
			t.Errorf("entry %d holds %q, %v, want %q", i, got, err, value)
		}
	}
}

// Rule: more entries than one transaction has room for are each decided for
// themselves, and a key that comes twice is swapped once.
func TestSwapManyIsManyTransactions(t *testing.T) {
	s, b := server(t)
	items := pairs(250)
	fillPairs(t, b, items)
	set(t, b, items[120].Key, "newer")
	if _, err := b.Delete(t.Context(), items[249].Key); err != nil {
		t.Fatal(err)
	}
	twice := append(items[:250:250], backends.SwapItem{Key: items[200].Key, Old: []byte("old"), New: []byte("other")})
	results := b.SwapMany(t.Context(), twice)
	if results[250].Swapped || results[250].Err != nil || !results[200].Swapped {
		t.Errorf("a key that comes twice: %+v and %+v", results[200], results[250])
	}
	for i := range 250 {
		if results[i].Swapped != (i != 120 && i != 249) || results[i].Err != nil {
			t.Errorf("result %d = %+v", i, results[i])
		}
	}
	want(t, b, items[120].Key, "newer")
	want(t, b, items[200].Key, "new")
	if ttl, ok := s.Do("PTTL", items[0].Key).(int64); !ok || ttl <= 0 || ttl > 60_000 {
		t.Errorf("PTTL = %v, want what was left", ttl)
	}
	if n := s.Do("EXISTS", items[249].Key); n != int64(0) {
		t.Error("a missing entry was made")
	}
}

// Rule: an entry that somebody writes, removes or touches between the comparison
// and the write is decided by what is stored then; the others are swapped all the
// same.
func TestSwapManyLosesToNewerWrites(t *testing.T) {
	s := testenv.Redis(t, nil)
	b, m := swapper(t, usable(s.Addr()))
	for name, tc := range map[string]struct {
		command []any
		stored  map[int]string
	}{
		"written": {[]any{"SET", "app:k1", "newer"}, map[int]string{1: "newer"}},
		"removed": {[]any{"DEL", "app:k1"}, map[int]string{1: ""}},
		"touched": {[]any{"PEXPIRE", "app:k1", "500000"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			items := pairs(3)
			fillPairs(t, b, items)
			m.f = func() { s.Do(tc.command...) }
			swaps(t, b, items, tc.stored)
			if m.f != nil {
				t.Error("no transaction was run")
			}
			if ttl := s.Do("PTTL", "app:k1"); name == "touched" && ttl.(int64) < 400_000 {
				t.Errorf("PTTL = %v: the newer one was lost", ttl)
			}
		})
	}
}

// Rule: a transaction that has nothing to write leaves the connection to others.
func TestSwapManyOfNothingThatIsStored(t *testing.T) {
	s := testenv.Redis(t, nil)
	b, _ := swapper(t, usable(s.Addr()))
	items := pairs(3)
	for i, r := range b.SwapMany(t.Context(), items) {
		if r.Swapped || r.Err != nil {
			t.Errorf("result %d = %+v", i, r)
		}
	}
	set(t, b, "k", "v")
	if got := s.Do("GET", "k"); got != "v" {
		t.Errorf("Set after SwapMany stored %v", got)
	}
}

// Rule: whatever part of a transaction a user may not run, nothing is written
// that was not compared, and the connection serves the next call.
func TestSwapManyWithoutTransactions(t *testing.T) {
	for _, denied := range []string{"watch", "mget", "multi", "exec", "watch -multi -exec -discard -unwatch", "set"} {
		t.Run(denied, func(t *testing.T) {
			s := testenv.Redis(t, &testenv.RedisOptions{Config: []string{"user app on >" + password + " resetkeys ~* +@all -" + denied}})
			opts := usable(s.Addr())
			opts.Username, opts.Password = "app", password
			b, m := swapper(t, opts)
			items := pairs(3)
			for _, it := range items {
				s.Do("SET", it.Key, string(it.Old))
			}
			s.Do("SET", "app:k1", "newer")
			m.f = func() { s.Do("SET", "app:k2", "newer") }
			results := b.SwapMany(t.Context(), items)
			if denied == "set" {
				if results[0].Err == nil || results[0].Swapped {
					t.Errorf("SwapMany = %+v", results)
				}
				want(t, b, "app:k0", "old")
				return
			}
			if !results[0].Swapped || results[1].Swapped || results[2].Swapped != (m.f != nil) {
				t.Errorf("SwapMany = %+v", results)
			}
			want(t, b, "app:k0", "new")
			want(t, b, "app:k1", "newer")
		})
	}
}

// Rule: a server that refuses writes says why for each entry.
func TestSwapManyOnAFullServer(t *testing.T) {
	s, b := server(t)
	items := pairs(3)
	fillPairs(t, b, items)
	s.Do("CONFIG", "SET", "maxmemory", "1")
	for i, r := range b.SwapMany(t.Context(), items) {
		var e *backends.Error
		if !errors.As(r.Err, &e) || e.Kind != backends.Overload {
			t.Errorf("result %d = %+v, want Overload", i, r)
		}
	}
	s.Do("CONFIG", "SET", "maxmemory", "0")
	swaps(t, b, items, nil)
}

// Rule: a transaction that was given up never lands over a newer write.
func TestAbandonedSwapManyNeverLandsLater(t *testing.T) {
	for _, st := range stalls {
		t.Run(st.name, func(t *testing.T) {
			s := testenv.Redis(t, nil)
			p := testenv.Proxy(t, s.Addr())
			b, m := swapper(t, usable(p.Addr()))
			other := open(t, s.URL(), nil)
			items := pairs(3)
			items[1].New = []byte(strings.Repeat("n", 8<<20))
			fillPairs(t, b, items)
			m.f = func() { st.stall(s, p) }
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if r := b.SwapMany(ctx, items); !errors.Is(r[0].Err, context.DeadlineExceeded) || m.f != nil {
				t.Fatalf("SwapMany = %+v", r)
			}
			newer := make(chan error, 1)
			go func() { newer <- other.Set(context.Background(), "app:k0", []byte("newer"), time.Minute) }()
			if st.name == "stopped server" {
				waitQueued(t)
			} else if err := <-newer; err != nil {
				t.Fatal(err)
			}
			st.resume(s, p)
			if st.name == "stopped server" {
				if err := <-newer; err != nil {
					t.Fatal(err)
				}
			}
			settle(t, p)
			want(t, other, "app:k0", "newer")
			want(t, b, "app:k0", "newer")
		})
	}
}
