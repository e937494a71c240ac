package memcachedbackend_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/memcachedbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// kindOf returns the kind of a failure, or "" if it is none.
func kindOf(t testing.TB, err error) string {
	t.Helper()
	var failed *backends.Error
	if !errors.As(err, &failed) {
		return ""
	}
	return failed.Kind.String()
}

// spread returns n keys for each of the servers.
func spread(t testing.TB, n int, s servers) map[string][]string {
	t.Helper()
	keys := map[string][]string{}
	for i := 0; ; i++ {
		key := fmt.Sprintf("key:%d", i)
		addr, err := memcachedbackend.Pick(s.list(), key)
		if err != nil {
			t.Fatal(err)
		}
		if keys[addr] = append(keys[addr], key); len(keys[addr]) > n {
			keys[addr] = keys[addr][:n]
		}
		full := len(keys) == len(s)
		for _, k := range keys {
			full = full && len(k) == n
		}
		if full {
			return keys
		}
	}
}

// Rule: with one of two servers killed, the keys of the other work, those of
// the killed one fail, each by name in a batch, and all work again after a
// restart.
func TestOneOfTwoServersKilled(t *testing.T) {
	s := start(t, 2, nil)
	b := open(t, s.list(), nil)
	keys := spread(t, 20, s)
	alive, dead := keys[s[0].Addr()], keys[s[1].Addr()]
	both := append(append([]string(nil), alive...), dead...)
	var items []backends.Item
	for _, k := range both {
		items = append(items, backends.Item{Key: k, Value: []byte("value of " + k), TTL: time.Hour})
	}
	for i, err := range b.SetMany(t.Context(), items) {
		if err != nil {
			t.Fatalf("SetMany: %d = %v", i, err)
		}
	}
	if n := strings.Count(s[0].Do("stats"), "STAT curr_items 20\r\n"); n != 1 {
		t.Error("the first server does not hold 20 entries")
	}
	s[1].Stop()
	for i, k := range both {
		down := i >= len(alive)
		got, err := b.Get(t.Context(), k)
		if down && kindOf(t, err) != "transient" || !down && string(got) != "value of "+k {
			t.Errorf("key %d, server down: %t: Get = %q, %v", i, down, got, err)
		}
	}
	for i, r := range b.GetMany(t.Context(), both) {
		if down := i >= len(alive); down && kindOf(t, r.Err) != "transient" || !down && string(r.Entry.Value) != "value of "+both[i] {
			t.Errorf("GetMany: key %d, server down: %t: %q, %v", i, down, r.Entry.Value, r.Err)
		}
	}
	for i, err := range b.SetMany(t.Context(), items) {
		if down := i >= len(alive); down != (kindOf(t, err) == "transient") {
			t.Errorf("SetMany: key %d, server down: %t: %v", i, down, err)
		}
	}
	for i, r := range b.DeleteMany(t.Context(), both) {
		if down := i >= len(alive); down != (kindOf(t, r.Err) == "transient") || down == r.Existed {
			t.Errorf("DeleteMany: key %d, server down: %t: %+v", i, down, r)
		}
	}
	h := b.Health(t.Context())
	if h.OK || kindOf(t, h.Err) != "transient" || !strings.Contains(h.Err.Error(), "server 2 of 2") ||
		!strings.HasPrefix(h.Details["server 1"], "version 1.") || !strings.HasPrefix(h.Details["server 2"], "transient failure") || h.Details["servers"] != "2" {
		t.Errorf("Health = %+v", h)
	}
	s[1].Start()
	for i, err := range b.SetMany(t.Context(), items) {
		if err != nil {
			t.Errorf("after the restart: SetMany: %d = %v", i, err)
		}
	}
	if h := b.Health(t.Context()); !h.OK {
		t.Errorf("after the restart: Health = %+v", h)
	}
}

// Rule: a connection that the server closed while it was idle costs the caller
// nothing: every operation works, and is sent once more at most.
func TestIdleClose(t *testing.T) {
	for how, disturb := range map[string]func(*testenv.MemcachedServer, *testenv.FaultProxy){
		"reset": func(_ *testenv.MemcachedServer, p *testenv.FaultProxy) {
			p.Cut()
			testenv.Poll(t, 5*time.Second, "the connections to end", func() bool { return p.Conns() == 0 })
		},
		"restart": func(s *testenv.MemcachedServer, _ *testenv.FaultProxy) { s.Stop(); s.Start() },
	} {
		t.Run(how, func(t *testing.T) {
			s := testenv.Memcached(t, nil)
			b, network := through(t, memcachedbackend.Options{}, s)
			p := network[s.Addr()]
			for name, call := range operations {
				set(t, b, "k", secret)
				disturb(s, p)
				before := len(p.Sent())
				err := call(t.Context(), b, "k")
				if err != nil && !errors.Is(err, backends.ErrNotFound) && !errors.Is(err, backends.ErrLocked) {
					t.Errorf("%s after an idle close = %v", name, err)
				}
				if sent := bytes.Count(p.Sent()[before:], []byte("\r\n")); sent > 6 {
					t.Errorf("%s sent %d lines", name, sent)
				}
			}
		})
	}
}

// Rule: a server that closes connections after a request is asked twice at most.
func TestRetriedOnce(t *testing.T) {
	calls := 0
	addr, lines := liar(t, func(string) string { calls++; return hangUp })
	b := open(t, addr, nil)
	if _, err := b.Get(t.Context(), "k"); kindOf(t, err) != "transient" {
		t.Errorf("Get = %v", err)
	}
	if got := len(lines()) - 2; got != 2 { // without version and mn
		t.Errorf("the server was asked %d times, want 2", got)
	}
	if _, err := b.Get(t.Context(), "k"); kindOf(t, err) != "transient" || len(lines())-2 != 3 {
		t.Errorf("on a new connection the server was asked again: %v, %d times", err, len(lines())-2)
	}
}

// Rule: a request whose answer has begun is not repeated.
func TestNotRetriedAfterPartOfAnAnswer(t *testing.T) {
	addr, lines := liar(t, func(string) string { return "VALUE k 0 5" + hangUp })
	b := open(t, addr, nil)
	if _, err := b.Get(t.Context(), "k"); kindOf(t, err) != "transient" || len(lines()) != 3 {
		t.Errorf("Get = %v after %d lines, want 3", err, len(lines()))
	}
}

// Rule: a connection that was idle for long is looked at before it is used.
func TestIdleConnectionIsLookedAt(t *testing.T) {
	s := testenv.Memcached(t, nil)
	b, network := through(t, memcachedbackend.Options{}, s)
	p := network[s.Addr()]
	set(t, b, "k", "v")
	p.Cut()
	time.Sleep(1100 * time.Millisecond) // there is no clock to move under a socket
	before := len(p.Sent())
	want(t, b, "k", "v")
	if got := string(p.Sent()[before:]); got != "gets k\r\n" {
		t.Errorf("%q was sent, want the request once", got)
	}
}

// Rule: keys live where cachekit-py looks for them. The expectations are those
// of pymemcache 4.0.0's RendezvousHash.
func TestServerOfAKey(t *testing.T) {
	const list = "mc1:11211,mc2:11211,cache.example:11212"
	for key, want := range picks {
		if got, err := memcachedbackend.Pick(list, key); got != want || err != nil {
			t.Errorf("Pick(%q) = %s, %v, want %s", key, got, err, want)
		}
		if got, _ := memcachedbackend.Pick(`["cache.example:11212", "mc2:11211","mc1:11211"]`, key); got != want {
			t.Errorf("the order of the list matters for %q", key)
		}
	}
	if len(picks) != 40 {
		t.Errorf("%d keys, want 40", len(picks))
	}
}

func TestOpenServerLists(t *testing.T) {
	for _, tc := range []struct{ rule, list, says string }{
		{"empty", "", "empty"},
		{"blank", "  ", "empty"},
		{"empty array", "[]", "empty"},
		{"no port", "localhost", "server 1 of 1 is not host:port"},
		{"no host", ":11211", "not host:port"},
		{"an empty entry", "a:1,,b:2", "server 2 of 3 is empty"},
		{"port 0", "a:0", "port"},
		{"port 65536", "a:65536", "port"},
		{"a named port", "a:memcache", "port"},
		{"a bare IPv6 address", "::1:11211", "brackets"},
		{"a URL", "memcache://sesame:11211", "no scheme"},
		{"credentials", "user:sesame@host:11211", "credentials"},
		{"twice", "a:1,b:2,a:01", "server 3 of 3 is in the list twice"},
		{"an array of other things", `["sesame:1", 2]`, "JSON"},
		{"half an array", `["sesame:1"`, "not"},
		{"a space in a host", "se same:1", "ASCII"},
	} {
		_, err := memcachedbackend.Open(t.Context(), tc.list, nil)
		var config *memcachedbackend.ConfigError
		if !errors.As(err, &config) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want a *ConfigError that says %q", tc.rule, err, tc.says)
		}
		if strings.Contains(fmt.Sprint(err), "sesame") {
			t.Errorf("%s: the error repeats the list", tc.rule)
		}
	}
	for _, opts := range []memcachedbackend.Options{{Timeout: -1}, {MaxValueBytes: -1}, {MaxValueBytes: 1<<30 + 1}, {MaxIdleConns: -1}} {
		var config *memcachedbackend.ConfigError
		if _, err := memcachedbackend.Open(t.Context(), "127.0.0.1:1", &opts); !errors.As(err, &config) {
			t.Errorf("%+v: %v, want a *ConfigError", opts, err)
		}
	}
	if _, err := memcachedbackend.New(nil, nil); err == nil {
		t.Error("a nil selector is taken")
	}
}

// Rule: Open tells at once what is wrong with a server.
func TestOpenReachesEveryServer(t *testing.T) {
	s := testenv.Memcached(t, nil)
	secured := testenv.Memcached(t, &testenv.MemcachedOptions{TLS: true})
	old, _ := liar(t, func(string) string { return "" }, "ERROR\r\n")
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	elsewhere := &memcachedbackend.Options{TLS: secured.TLSConfig(), Timeout: time.Second}
	elsewhere.TLS.ServerName = "elsewhere.example"
	for _, tc := range []struct {
		rule, list string
		opts       *memcachedbackend.Options
		kind       string
	}{
		{"nobody listens", "127.0.0.1:1", nil, "transient"},
		{"no meta commands", old, nil, "permanent"},
		{"HTTP", web.Listener.Addr().String(), nil, "transient"},
		{"one of two is missing", s.Addr() + ",127.0.0.1:1", nil, "transient"},
		{"TLS to a plain server", s.Addr(), &memcachedbackend.Options{TLS: secured.TLSConfig(), Timeout: time.Second}, ""},
		{"clear text to a TLS server", secured.Addr(), &memcachedbackend.Options{Timeout: time.Second}, ""},
		{"another name in the certificate", secured.Addr(), elsewhere, "permanent"},
		{"an unknown authority", secured.Addr(), &memcachedbackend.Options{TLS: new(tls.Config), Timeout: time.Second}, "permanent"},
	} {
		_, err := memcachedbackend.Open(context.Background(), tc.list, tc.opts)
		if got := kindOf(t, err); got == "" || tc.kind != "" && got != tc.kind {
			t.Errorf("%s: %v, want kind %s", tc.rule, err, tc.kind)
		}
	}
	open(t, old, &memcachedbackend.Options{ClassicProtocol: true})
}
