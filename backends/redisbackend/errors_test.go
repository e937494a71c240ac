package redisbackend_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// Rule: an answer of the server becomes a kind and a code, and its text, which
// can repeat key and value, goes no further.
func TestServerAnswers(t *testing.T) {
	for _, c := range []struct {
		name   string
		config []any
		kind   backends.Kind
		code   string
	}{
		{"out of memory", []any{"CONFIG", "SET", "maxmemory", "1"}, backends.Overload, "OOM"},
		{"replica", []any{"REPLICAOF", "127.0.0.1", "1"}, backends.Transient, "READONLY"},
		{"no permission", []any{"ACL", "SETUSER", "default", "-set"}, backends.Auth, "NOPERM"},
		{"no such keys", []any{"ACL", "SETUSER", "default", "resetkeys", "~other"}, backends.Auth, "NOPERM"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, b := server(t)
			s.Do(c.config...)
			err := b.Set(t.Context(), "canary-key", []byte("canary-value"), time.Minute)
			var failed *backends.Error
			var answer *redisbackend.ServerError
			if !errors.As(err, &failed) || failed.Kind != c.kind || !errors.As(err, &answer) || answer.Code != c.code {
				t.Fatalf("Set = %v, want %v %s", err, c.kind, c.code)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("error shows key or value: %v", err)
			}
		})
	}
}

func TestWrongTypeIsPermanent(t *testing.T) {
	s, b := server(t)
	s.Do("LPUSH", "k", "v")
	var failed *backends.Error
	if _, err := b.Get(t.Context(), "k"); !errors.As(err, &failed) || failed.Kind != backends.Permanent {
		t.Errorf("Get of a list = %v, want permanent", err)
	}
	if _, err := b.Swap(t.Context(), "k", nil, nil); !errors.As(err, &failed) || failed.Kind != backends.Permanent {
		t.Errorf("Swap of a list = %v, want permanent", err)
	}
}

// Rule: a stored value over the limit is refused by its length.
func TestValueLimit(t *testing.T) {
	s := testenv.Redis(t, nil)
	b := open(t, s.URL(), &redisbackend.Options{MaxValueBytes: 1000})
	set(t, b, "fits", strings.Repeat("x", 1000))
	large := strings.Repeat("x", 1001)
	var refused *backends.Error
	if err := b.Set(t.Context(), "large", []byte(large), time.Minute); !errors.As(err, &refused) || refused.Kind != backends.TooLarge {
		t.Errorf("Set = %v, want too large", err)
	}
	s.Do("SET", "large", large)
	want(t, b, "fits", strings.Repeat("x", 1000))
	var failed *backends.Error
	if _, err := b.Get(t.Context(), "large"); !errors.As(err, &failed) || failed.Kind != backends.TooLarge {
		t.Errorf("Get = %v, want too large", err)
	}
	if _, err := b.GetEntry(t.Context(), "large"); !errors.As(err, &failed) || failed.Kind != backends.TooLarge {
		t.Errorf("GetEntry = %v, want too large", err)
	}
	r := b.GetMany(t.Context(), []string{"fits", "large"})
	if !errors.As(r[1].Err, &failed) || failed.Kind != backends.TooLarge {
		t.Errorf("GetMany = %v, want too large", r[1].Err)
	}
	want(t, b, "fits", strings.Repeat("x", 1000))
	var readers sync.WaitGroup
	for i := range 64 {
		readers.Go(func() {
			_, err := b.Get(t.Context(), []string{"fits", "large"}[i%2])
			var failed *backends.Error
			if tooLarge := errors.As(err, &failed) && failed.Kind == backends.TooLarge; tooLarge != (i%2 == 1) {
				t.Errorf("concurrent Get = %v", err)
			}
		})
	}
	readers.Wait()
}

// Rule: the backend's own limit is kind Timeout, not an error of the context.
func TestOwnTimeout(t *testing.T) {
	s := testenv.Redis(t, nil)
	b := open(t, s.URL(), &redisbackend.Options{Timeout: 100 * time.Millisecond})
	s.Pause()
	defer s.Resume()
	withEnd, cancel := context.WithCancel(t.Context())
	defer cancel()
	for name, ctx := range map[string]context.Context{"no end": context.Background(), "an end": withEnd} {
		_, err := b.Get(ctx, "k")
		var failed *backends.Error
		if !errors.As(err, &failed) || failed.Kind != backends.Timeout || !backends.IsOutage(err) {
			t.Errorf("context with %s: Get = %v, want kind timeout", name, err)
		}
	}
}

func TestServerGoneAndBack(t *testing.T) {
	s, b := server(t)
	set(t, b, "k", "v")
	s.Stop()
	_, err := b.Get(t.Context(), "k")
	var failed *backends.Error
	if !errors.As(err, &failed) || failed.Kind != backends.Transient {
		t.Errorf("Get without a server = %v, want transient", err)
	}
	if h := b.Health(t.Context()); h.OK || h.Err == nil || h.BackendType != "redis" {
		t.Errorf("Health without a server = %+v", h)
	}
	s.Start()
	testenv.Poll(t, 10*time.Second, "the backend to reconnect", func() bool { return b.Health(t.Context()).OK })
	if h := b.Health(t.Context()); h.Details["mode"] != "standalone" || h.Details["version"] == "" || h.Latency <= 0 {
		t.Errorf("Health = %+v", h)
	}
}
