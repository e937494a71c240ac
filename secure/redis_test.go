package secure_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/testenv"
	"github.com/cachekit-io/cachekit-go/secure"
)

// The main job against a real server that is found through the environment.
func TestRealRedisFromTheEnvironment(t *testing.T) {
	clean(t)
	server := testenv.Redis(t, nil)
	t.Setenv("CACHEKIT_REDIS_URL", server.URL())
	t.Setenv("CACHEKIT_MASTER_KEY", "1111111111111111111111111111111111111111111111111111111111111111")
	c, err := secure.New(t.Context(), &secure.Options{Namespace: "users"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if h := c.Health(t.Context()); !h.OK || h.BackendType != "redis" {
		t.Fatalf("%+v", h)
	}
	if err := c.Set(t.Context(), "42", alice); err != nil {
		t.Fatal(err)
	}
	stored, _ := server.Do("GET", "users:42").(string)
	if len(stored) < 28 || bytes.Contains([]byte(stored), []byte("alice")) {
		t.Errorf("the server holds %q", stored)
	}
	for _, tc := range []struct {
		name string
		ttl  time.Duration
		min  int64 // of what the server says, in milliseconds
		max  int64
	}{
		{"the profile's", 0, 590_000, 600_000},
		{"sub-second", 1500 * time.Microsecond, -2, 2},
		{"one second", time.Second, 900, 1000},
		{"100 years", 100 * 365 * 24 * time.Hour, 3_153_599_000_000, 3_153_600_000_000},
		{"for ever", secure.NoExpiry, -1, -1},
	} {
		if tc.ttl == 0 {
			err = c.Set(t.Context(), "t", alice)
		} else {
			err = c.SetTTL(t.Context(), "t", alice, tc.ttl)
		}
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if got, _ := server.Do("PTTL", "users:t").(int64); got < tc.min || got > tc.max {
			t.Errorf("%s: the server reports a TTL of %d ms, want %d to %d", tc.name, got, tc.min, tc.max)
		}
	}
	server.Do("SET", "users:42", "planted")
	fresh, err := secure.New(t.Context(), &secure.Options{Namespace: "users"})
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	var out user
	if _, err := fresh.Get(t.Context(), "42", &out); !errors.Is(err, secure.ErrAuth) {
		t.Errorf("planted plaintext: got %v, want ErrAuth", err)
	}
	server.Stop()
	if _, err := fresh.Get(t.Context(), "other", &out); !errors.Is(err, secure.ErrUnavailable) {
		t.Errorf("a stopped server: got %v, want ErrUnavailable", err)
	}
}
