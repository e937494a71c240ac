package redisbackend_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// Rule: the lock of a key is a string at <key>:lock with a lease, as the sister
// SDKs store it.
func TestLockOnTheWire(t *testing.T) {
	s, b := server(t)
	token, err := b.Lock(t.Context(), "k", time.Minute)
	if err != nil || len(token) != 32 {
		t.Fatalf("Lock = %q, %v", token, err)
	}
	if got := s.Do("GET", "k:lock"); got != token {
		t.Errorf("k:lock = %v, want the token", got)
	}
	if left := s.Do("PTTL", "k:lock").(int64); left <= 0 || left > 60000 {
		t.Errorf("lease = %d ms", left)
	}
	s.Do("SET", "k:lock", "a peer's token")
	if released, err := b.Unlock(t.Context(), "k", token); released || err != nil {
		t.Errorf("Unlock of a peer's lock = %v, %v", released, err)
	}
	if _, err := b.Lock(t.Context(), "k", time.Minute); !errors.Is(err, backends.ErrLocked) {
		t.Errorf("Lock of a peer's lock = %v, want ErrLocked", err)
	}
}

// Rule: a lost reply to Lock is neither contention nor a second lock.
func TestLockSurvivesALostReply(t *testing.T) {
	s := testenv.Redis(t, nil)
	p := testenv.Proxy(t, s.Addr())
	b := open(t, s.URLAt(p.Addr()), nil)
	set(t, b, "warm", "")
	p.StallReplies()
	type result struct {
		token string
		err   error
	}
	done := make(chan result, 1)
	go func() {
		token, err := b.Lock(context.Background(), "k", time.Minute)
		done <- result{token, err}
	}()
	testenv.Poll(t, 5*time.Second, "the lock to be taken", func() bool { return s.Do("EXISTS", "k:lock") == int64(1) })
	p.Cut()
	p.Resume()
	r := <-done
	if r.err != nil || s.Do("GET", "k:lock") != r.token {
		t.Errorf("Lock = %+v, server has %v", r, s.Do("GET", "k:lock"))
	}
}

// Rule: a prefix is text, not a pattern; locks and foreign types are left out.
func TestScanTakesPrefixesLiterally(t *testing.T) {
	s, b := server(t)
	for _, prefix := range []string{"a*b", "a?b", "a[xy]b", "a[^z]b", `a\b`, `a\*b`, "a]b", "a-b"} {
		set(t, b, prefix+":1", "v")
	}
	set(t, b, "axb:1", "v")
	s.Do("LPUSH", "a*b:list", "v")
	if _, err := b.Lock(t.Context(), "a*b:1", time.Minute); err != nil {
		t.Fatal(err)
	}
	for _, prefix := range []string{"a*b", "a?b", "a[xy]b", "a[^z]b", `a\b`, `a\*b`, "a]b", "a-b"} {
		if got := scan(t, b, prefix, 1); !slices.Equal(got, []string{prefix + ":1"}) {
			t.Errorf("Scan(%q) = %q", prefix, got)
		}
	}
}

func scan(t *testing.T, b *redisbackend.Backend, prefix string, limit int) []string {
	t.Helper()
	found := map[string]bool{}
	cursor := ""
	for {
		keys, next, err := b.Scan(t.Context(), prefix, cursor, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			found[k] = true
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	var all []string
	for k := range found {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

func TestScanRefusesForeignCursors(t *testing.T) {
	_, b := server(t)
	for _, cursor := range []string{"0", "x@", "-1@", "5@10.0.0.1:6379", "@", "99999999999999999999@"} {
		var failed *backends.Error
		if _, _, err := b.Scan(t.Context(), "", cursor, 0); !errors.As(err, &failed) || failed.Kind != backends.Permanent {
			t.Errorf("Scan from %q = %v, want permanent", cursor, err)
		}
	}
}

// Rule: Swap keeps the TTL, and works after the server forgot the script.
func TestSwapKeepsTTL(t *testing.T) {
	s, b := server(t)
	set(t, b, "k", "one")
	for i, v := range []string{"one", "two", "three"} {
		s.Do("SCRIPT", "FLUSH")
		s.Do("PEXPIRE", "k", 50000)
		next := []string{"two", "three", "four"}[i]
		if ok, err := b.Swap(t.Context(), "k", []byte(v), []byte(next)); !ok || err != nil {
			t.Errorf("Swap = %v, %v", ok, err)
		}
		if left := s.Do("PTTL", "k").(int64); left < 40000 || left > 50000 {
			t.Errorf("PTTL after Swap = %d", left)
		}
	}
	if ok, err := b.Swap(t.Context(), "missing", nil, []byte("x")); ok || err != nil {
		t.Errorf("Swap of a missing entry = %v, %v", ok, err)
	}
}

// Rule: a bad item of a batch fails alone.
func TestBatchRefusesItemsOneByOne(t *testing.T) {
	_, b := server(t)
	errs := b.SetMany(t.Context(), []backends.Item{
		{Key: "a", Value: []byte("1"), TTL: time.Minute},
		{Key: "", Value: nil, TTL: time.Minute},
		{Key: "b", Value: nil, TTL: 0},
		{Key: "a", Value: []byte("2"), TTL: time.Minute},
	})
	var refused *backends.KeyError
	if errs[0] != nil || !errors.As(errs[1], &refused) || !errors.Is(errs[2], backends.ErrTTL) || errs[3] != nil {
		t.Errorf("SetMany = %v", errs)
	}
	got := b.GetMany(t.Context(), []string{"a", "bad\n", "b"})
	if string(got[0].Entry.Value) != "2" || !errors.As(got[1].Err, &refused) || !errors.Is(got[2].Err, backends.ErrNotFound) {
		t.Errorf("GetMany = %+v", got)
	}
	if len(b.GetMany(t.Context(), nil)) != 0 || len(b.SetMany(t.Context(), nil)) != 0 || len(b.DeleteMany(t.Context(), nil)) != 0 {
		t.Error("an empty batch has results")
	}
}

func TestLargeBatches(t *testing.T) {
	_, b := server(t)
	items := make([]backends.Item, 2500)
	keys := make([]string, len(items))
	for i := range items {
		keys[i] = fmt.Sprintf("k%d", i)
		items[i] = backends.Item{Key: keys[i], Value: []byte(keys[i]), TTL: time.Minute}
	}
	for i, err := range b.SetMany(t.Context(), items) {
		if err != nil {
			t.Fatalf("item %d: %v", i, err)
		}
	}
	for i, r := range b.GetMany(t.Context(), keys) {
		if r.Err != nil || string(r.Entry.Value) != keys[i] {
			t.Fatalf("key %d: %q, %v", i, r.Entry.Value, r.Err)
		}
	}
	for i, r := range b.DeleteMany(t.Context(), keys) {
		if r.Err != nil || !r.Existed {
			t.Fatalf("key %d: %+v", i, r)
		}
	}
}
