package redisbackend_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// Rule: a malformed URL is a *URLError that shows no part of it.
func TestOpenRefusesURLs(t *testing.T) {
	for _, url := range []string{
		"",
		"hunter2",
		"http://:hunter2@127.0.0.1:1",
		"redis://:hunter2%zz@127.0.0.1:1",
		"redis://user:hunter2@127.0.0.1:1/hunter2",
		"redis://user:hunter2@127.0.0.1:port",
		"redis://127.0.0.1:1?password=hunter2&hunter2=1",
		"redis://127.0.0.1:1?max_retries=3&password=hunter2",
		"redis://:hunter2@127.0.0.1:1?addr=hunter2",
		"redis://:hunter2@127.0.0.1:1?master_name=m&addr=hunter2",
		"unix://",
	} {
		b, err := redisbackend.Open(t.Context(), url, nil)
		if err == nil {
			_ = b.Close()
		}
		var refused *redisbackend.URLError
		if !errors.As(err, &refused) {
			t.Errorf("Open(%q) = %v, want *URLError", url, err)
			continue
		}
		if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, "hunter2") || strings.Contains(text, "127.0.0.1") {
			t.Errorf("the error shows the URL: %s", text)
		}
	}
}

func TestOpenRefusesOptions(t *testing.T) {
	for _, o := range []redisbackend.Options{{Timeout: -1}, {MaxValueBytes: -1}, {MaxValueBytes: 512<<20 + 1}} {
		var refused *redisbackend.ClientError
		if _, err := redisbackend.Open(t.Context(), "redis://127.0.0.1:1", &o); !errors.As(err, &refused) {
			t.Errorf("Open with %+v = %v, want *ClientError", o, err)
		}
	}
}

// Rule: what is wrong with the server or the credentials shows in Open, as the
// kind that says what to do.
func TestOpenFailures(t *testing.T) {
	s := testenv.Redis(t, &testenv.RedisOptions{Password: "hunter2"})
	for _, c := range []struct {
		name, url string
		kind      backends.Kind
	}{
		{"no password", "redis://" + s.Addr(), backends.Auth},
		{"wrong password", "redis://:hunter3@" + s.Addr(), backends.Auth},
		{"wrong user", "redis://somebody:hunter2@" + s.Addr(), backends.Auth},
		{"nobody listens", "redis://:hunter2@127.0.0.1:1", backends.Transient},
		{"no database 99", "redis://:hunter2@" + s.Addr() + "/99", backends.Permanent},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			_, err := redisbackend.Open(ctx, c.url, nil)
			var failed *backends.Error
			if !errors.As(err, &failed) || failed.Kind != c.kind {
				t.Fatalf("Open = %v, want kind %v", err, c.kind)
			}
			if strings.Contains(err.Error(), "hunter") {
				t.Errorf("the error shows a password: %v", err)
			}
		})
	}
	want(t, func() *redisbackend.Backend { b := open(t, s.URL(), nil); set(t, b, "k", "v"); return b }(), "k", "v")
}

func TestOpenHonoursItsContext(t *testing.T) {
	s := testenv.Redis(t, nil)
	p := testenv.Proxy(t, s.Addr())
	p.Stall()
	for _, cancelled := range []bool{false, true} {
		quick(t, cancelled, func(ctx context.Context) error {
			_, err := redisbackend.Open(ctx, s.URLAt(p.Addr()), nil)
			return err
		})
	}
}

func TestOpenUnixSocket(t *testing.T) {
	s := testenv.Redis(t, &testenv.RedisOptions{Password: "secret"})
	b := open(t, "unix://:secret@"+s.Socket()+"?db=3", nil)
	set(t, b, "k", "v")
	want(t, b, "k", "v")
	s.Pause()
	quick(t, true, func(ctx context.Context) error { _, err := b.Get(ctx, "k"); return err })
	s.Resume()
}

// Rule: a client that cannot keep the promises is refused with the remedy.
func TestNewRefusesClients(t *testing.T) {
	for _, c := range []struct {
		name, remedy string
		client       redis.UniversalClient
		opts         *redisbackend.Options
	}{
		{"nil", "nil", nil, nil},
		{"typed nil", "it is nil", (*redis.Client)(nil), nil},
		{"go-redis's defaults", "ContextTimeoutEnabled: true", redis.NewClient(&redis.Options{}), nil},
		{"retries", "MaxRetries: -1", redis.NewClient(&redis.Options{ContextTimeoutEnabled: true}), nil},
		{"no read timeout", "ReadTimeout", redis.NewClient(&redis.Options{ContextTimeoutEnabled: true, MaxRetries: -1, ReadTimeout: -1}), nil},
		{"no write deadline", "WriteTimeout", redis.NewClient(&redis.Options{ContextTimeoutEnabled: true, MaxRetries: -1, WriteTimeout: -2}), nil},
		{"a longer timeout", "Options.Timeout", redis.NewClient(&redis.Options{ContextTimeoutEnabled: true, MaxRetries: -1}), &redisbackend.Options{Timeout: time.Hour}},
		{"a Cluster's defaults", "ContextTimeoutEnabled: true", redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}}), nil},
		{"a Ring's defaults", "ContextTimeoutEnabled: true", redis.NewRing(&redis.RingOptions{}), nil},
		{"a wrapper", "cannot be inspected", struct{ redis.UniversalClient }{redis.NewClient(&redis.Options{})}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := redisbackend.New(c.client, c.opts)
			var refused *redisbackend.ClientError
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), c.remedy) {
				t.Errorf("New = %v, want a *ClientError with %q", err, c.remedy)
			}
			if c.client != nil && c.name != "typed nil" {
				_ = c.client.Close()
			}
		})
	}
}

// Rule: New never closes the client.
func TestCloseLeavesTheClientOpen(t *testing.T) {
	s := testenv.Redis(t, nil)
	client := redis.NewClient(usable(s.Addr()))
	defer client.Close()
	b, err := redisbackend.New(client, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("the client is closed: %v", err)
	}
	if _, err := b.Get(t.Context(), "k"); !errors.Is(err, backends.ErrClosed) {
		t.Errorf("Get after Close: %v", err)
	}
}

// Rule: with connections that were open before New, calls return in time too.
func TestNewOverAUsedClient(t *testing.T) {
	s := testenv.Redis(t, nil)
	c := testenv.RedisCluster(t, 0)
	for name, x := range map[string]struct {
		servers []*testenv.RedisServer
		client  func(network) redis.UniversalClient
	}{
		"server": {[]*testenv.RedisServer{s}, func(n network) redis.UniversalClient {
			opts := usable(s.Addr())
			opts.Dialer = n.dial
			return redis.NewClient(opts)
		}},
		"Cluster": {c.Masters, func(n network) redis.UniversalClient {
			return redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs(), ContextTimeoutEnabled: true, Dialer: n.dial})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			n := proxies(t, x.servers...)
			client := x.client(n)
			if err := client.Set(t.Context(), "k", "v", 0).Err(); err != nil {
				t.Fatal(err)
			}
			b := newOver(t, client)
			want(t, b, "k", "v")
			n.each((*testenv.FaultProxy).Stall)()
			for _, cancelled := range []bool{false, true} {
				quick(t, cancelled, func(ctx context.Context) error { _, err := b.Get(ctx, "k"); return err })
				quick(t, cancelled, func(ctx context.Context) error { return b.Set(ctx, "k", []byte("x"), time.Minute) })
			}
			n.each((*testenv.FaultProxy).Resume)()
		})
	}
}
