package redisbackend_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// keepValue rewrites every entry as it is.
func keepValue(_ int, value []byte) []byte { return value }

func renew(int, []byte) []byte { return []byte("new") }

func keysOf(items []backends.SwapItem) (keys []string) {
	for _, it := range items {
		keys = append(keys, it.Key)
	}
	return keys
}

// Rule: more entries than one transaction has room for are rewritten, each with
// its TTL, and read back; of a key that comes twice, one is.
func TestRewriteManyIsManyTransactions(t *testing.T) {
	s, b := server(t)
	items := pairs(240)
	fillPairs(t, b, items)
	if _, err := b.Delete(t.Context(), items[239].Key); err != nil {
		t.Fatal(err)
	}
	calls, back := map[int]string{}, map[int]string{}
	keys := append(keysOf(items), items[202].Key)
	results := b.RewriteMany(t.Context(), keys, func(i int, value []byte) []byte {
		calls[i] += string(value)
		if i == 120 {
			return nil
		}
		return fmt.Append(nil, "new", i)
	}, func(i int, value []byte) { back[i] += string(value) })
	for i := range 240 {
		r, found := results[i], i != 239
		if r.Err != nil || r.Found != found || r.Rewritten != (found && i != 120) || calls[i] == "old" != found {
			t.Errorf("result %d = %+v of %q", i, r, calls[i])
		}
		if r.Rewritten {
			if back[i] != fmt.Sprint("new", i) {
				t.Errorf("entry %d was read back as %q", i, back[i])
			}
			want(t, b, items[i].Key, fmt.Sprint("new", i))
		}
	}
	if r := results[240]; !r.Found || r.Rewritten || r.Err != nil || calls[240] != "new202" {
		t.Errorf("a key that comes twice: %+v of %q", r, calls[240])
	}
	want(t, b, items[120].Key, "old")
	if ttl, ok := s.Do("PTTL", items[0].Key).(int64); !ok || ttl <= 0 || ttl > 60_000 {
		t.Errorf("PTTL = %v, want what was left", ttl)
	}
	if n := s.Do("EXISTS", items[239].Key); n != int64(0) {
		t.Error("a missing entry was made")
	}
}

// Rule: nothing of a transaction is written if somebody writes, removes or touches
// one of its entries from the moment that they are read; the connection serves the
// next call.
func TestRewriteManyLosesToNewerWrites(t *testing.T) {
	s := testenv.Redis(t, nil)
	b, m := swapper(t, usable(s.Addr()))
	commands := map[string][]any{
		"written": {"SET", "app:k1", "newer"}, "removed": {"DEL", "app:k1"}, "touched": {"PEXPIRE", "app:k1", "500000"},
		"made": {"SET", "app:k3", "newer"},
	}
	for name, command := range commands {
		for when, early := range map[string]bool{"while it is re-sealed": true, "before EXEC": false} {
			t.Run(name+" "+when, func(t *testing.T) {
				s.Do("FLUSHALL")
				items := pairs(3)
				fillPairs(t, b, items)
				write := func() { s.Do(command...) }
				if !early {
					m.f = write
				}
				keys := append(keysOf(items), "app:k3")
				for i, r := range b.RewriteMany(t.Context(), keys, func(i int, _ []byte) []byte {
					if early && i == 2 {
						write()
					}
					return []byte("new")
				}, func(i int, _ []byte) { t.Errorf("entry %d was not rewritten but read back", i) }) {
					if r.Err != nil || r.Rewritten || r.Found != (i < 3) {
						t.Errorf("result %d = %+v", i, r)
					}
				}
				want(t, b, "app:k0", "old")
				if got := s.Do("GET", command[1]); name == "written" && got != "newer" || name == "removed" && got != nil {
					t.Errorf("the entry holds %v", got)
				}
				if ttl := s.Do("PTTL", "app:k1"); name == "touched" && ttl.(int64) < 400_000 {
					t.Errorf("PTTL = %v: the newer one was lost", ttl)
				}
				set(t, b, "k", "v")
				if got := s.Do("GET", "k"); got != "v" || m.f != nil {
					t.Errorf("Set after RewriteMany stored %v", got)
				}
			})
		}
	}
}

// Rule: a transaction that does not come to its EXEC, because there is nothing to
// write, the caller's context ends or his function panics, leaves nothing on the
// connection.
func TestRewriteManyLeavesTheConnectionClean(t *testing.T) {
	s := testenv.Redis(t, nil)
	b, _ := swapper(t, usable(s.Addr()))
	ctx, cancel := context.WithCancel(t.Context())
	for name, replace := range map[string]func(int, []byte) []byte{
		"nothing":  func(int, []byte) []byte { return nil },
		"canceled": func(int, []byte) []byte { cancel(); return []byte("new") },
		"panic":    func(int, []byte) []byte { panic("for the test") },
	} {
		t.Run(name, func(t *testing.T) {
			items := pairs(3)
			fillPairs(t, b, items)
			func() {
				defer func() { _ = recover() }()
				for i, r := range b.RewriteMany(ctx, keysOf(items), replace, nil) {
					if r.Rewritten || (r.Err != nil) != (name == "canceled") {
						t.Errorf("result %d = %+v", i, r)
					}
				}
			}()
			ctx = t.Context()
			set(t, b, "k", name)
			if got := s.Do("GET", "k"); got != name {
				t.Errorf("Set after RewriteMany stored %v", got)
			}
			if list := fmt.Sprint(s.Do("CLIENT", "LIST")); strings.Contains(list, "multi=0") {
				t.Errorf("a connection is in a transaction: %s", list)
			}
			want(t, b, "app:k0", "old")
			if r := b.RewriteMany(t.Context(), keysOf(items), renew, nil); !r[0].Rewritten {
				t.Errorf("RewriteMany = %+v", r)
			}
		})
		ctx, cancel = context.WithCancel(context.Background())
	}
	cancel()
}

// Rule: whatever part of a transaction a user may not run, the entries are read
// and nothing is written outside of one.
func TestRewriteManyWithoutTransactions(t *testing.T) {
	for _, denied := range []string{"watch", "mget", "multi", "exec", "watch -multi -exec -discard -unwatch", "set"} {
		t.Run(denied, func(t *testing.T) {
			s := testenv.Redis(t, &testenv.RedisOptions{Config: []string{"user app on >" + password + " resetkeys ~* +@all -" + denied}})
			opts := usable(s.Addr())
			opts.Username, opts.Password = "app", password
			b, _ := swapper(t, opts)
			items := pairs(3)
			for _, it := range items {
				s.Do("SET", it.Key, string(it.Old))
			}
			calls := 0
			for i, r := range b.RewriteMany(t.Context(), keysOf(items), func(int, []byte) []byte { calls++; return []byte("new") }, nil) {
				if r.Rewritten || denied != "mget" && (r.Err != nil || !r.Found) || denied == "mget" && r.Err == nil {
					t.Errorf("result %d = %+v", i, r)
				}
				if got := s.Do("GET", items[i].Key); got != "old" {
					t.Errorf("entry %d holds %v", i, got)
				}
			}
			if calls != 3 && denied != "mget" {
				t.Errorf("%d calls for 3 entries", calls)
			}
			if denied != "set" && denied != "mget" {
				swaps(t, b, items, nil)
			}
		})
	}
}

// Rule: a server that refuses writes rewrites nothing, and takes them afterwards.
func TestRewriteManyOnAFullServer(t *testing.T) {
	s, b := server(t)
	items := pairs(3)
	fillPairs(t, b, items)
	s.Do("CONFIG", "SET", "maxmemory", "1")
	for i, r := range b.RewriteMany(t.Context(), keysOf(items), renew, nil) {
		if r.Rewritten || !r.Found || r.Err != nil {
			t.Errorf("result %d = %+v", i, r)
		}
	}
	s.Do("CONFIG", "SET", "maxmemory", "0")
	if r := b.RewriteMany(t.Context(), keysOf(items), renew, nil); !r[0].Rewritten || !r[2].Rewritten {
		t.Errorf("RewriteMany = %+v", r)
	}
}

// Rule: a rewrite that was given up, while it reads or while it writes, returns
// soon and never lands over a newer write.
func TestAbandonedRewriteManyNeverLandsLater(t *testing.T) {
	for _, st := range stalls {
		for _, reading := range []bool{false, true} {
			t.Run(fmt.Sprint(st.name, " reading=", reading), func(t *testing.T) { abandonedRewrite(t, st.name, st.stall, st.resume, reading) })
		}
	}
}

func abandonedRewrite(t *testing.T, name string, stall, resume func(*testenv.RedisServer, *testenv.FaultProxy), reading bool) {
	s := testenv.Redis(t, nil)
	p := testenv.Proxy(t, s.Addr())
	b, m := swapper(t, usable(p.Addr()))
	other := open(t, s.URL(), nil)
	items := pairs(3)
	fillPairs(t, b, items)
	big := []byte(strings.Repeat("n", 8<<20))
	if reading {
		stall(s, p)
	} else {
		m.f = func() { stall(s, p) }
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if r := b.RewriteMany(ctx, keysOf(items), func(int, []byte) []byte { return big }, nil); !errors.Is(r[0].Err, context.DeadlineExceeded) || m.f != nil {
		t.Fatalf("RewriteMany = %+v", r)
	}
	newer := make(chan error, 1)
	go func() { newer <- other.Set(context.Background(), "app:k0", []byte("newer"), time.Minute) }()
	if name == "stopped server" {
		waitQueued(t)
	} else if err := <-newer; err != nil {
		t.Fatal(err)
	}
	resume(s, p)
	if name == "stopped server" {
		if err := <-newer; err != nil {
			t.Fatal(err)
		}
	}
	settle(t, p)
	want(t, other, "app:k0", "newer")
	want(t, b, "app:k0", "newer")
}
