package redisbackend_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

func spread(n int) (keys []string) {
	for i := range n {
		keys = append(keys, fmt.Sprint("k", i))
	}
	return keys
}

// Rule: the locks of a batch are those of Lock, on the wire too, however many there
// are; a server that has forgotten the scripts is told them again.
func TestLockManyOnTheWire(t *testing.T) {
	s, b := server(t)
	for range 2 {
		keys := spread(1500)
		s.Do("SET", "k7:lock", "a peer's token")
		held := make([]backends.HeldLock, 0, len(keys))
		for i, r := range b.LockMany(t.Context(), keys, time.Minute) {
			if i == 7 {
				if !errors.Is(r.Err, backends.ErrLocked) || r.Token != "" {
					t.Errorf("a peer's lock: %+v", r)
				}
				continue
			}
			if r.Err != nil || s.Do("GET", keys[i]+":lock") != r.Token {
				t.Fatalf("result %d = %+v, and the server has %v", i, r, s.Do("GET", keys[i]+":lock"))
			}
			held = append(held, backends.HeldLock{Key: keys[i], Token: r.Token})
		}
		if left := s.Do("PTTL", "k0:lock").(int64); left <= 0 || left > 60000 {
			t.Errorf("lease = %d ms", left)
		}
		s.Do("SCRIPT", "FLUSH")
		for i, r := range b.UnlockMany(t.Context(), append(held, backends.HeldLock{Key: "k7", Token: "mine"})) {
			if r.Released != (i < len(held)) || r.Err != nil {
				t.Fatalf("UnlockMany: result %d = %+v", i, r)
			}
		}
		if left := s.Do("KEYS", "*:lock").([]any); len(left) != 1 || left[0] != "k7:lock" {
			t.Errorf("left are %v", left)
		}
	}
}

// Rule: lost replies to LockMany are neither contention nor second locks, also where
// one of its keys comes twice.
func TestLockManySurvivesLostReplies(t *testing.T) {
	for _, lease := range []time.Duration{time.Minute, backends.NoExpiry} {
		s := testenv.Redis(t, nil)
		p := testenv.Proxy(t, s.Addr())
		b := open(t, s.URLAt(p.Addr()), nil)
		set(t, b, "warm", "")
		s.Do("SET", "k7:lock", "a peer's token")
		keys := append(spread(100), "k8")
		p.StallReplies()
		done := make(chan []backends.LockResult, 1)
		go func() { done <- b.LockMany(context.Background(), keys, lease) }()
		testenv.Poll(t, 5*time.Second, "the locks to be taken", func() bool { return s.Do("EXISTS", "k99:lock") == int64(1) })
		s.Do("DEL", "k5:lock") // as if it had not arrived
		p.Cut()
		p.Resume()
		for i, r := range <-done {
			if i == 7 || i == 100 {
				if !errors.Is(r.Err, backends.ErrLocked) || r.Token != "" {
					t.Errorf("lock %d, which is held: %+v", i, r)
				}
				continue
			}
			if r.Err != nil || s.Do("GET", keys[i]+":lock") != r.Token {
				t.Errorf("lock %d = %+v, server has %v", i, r, s.Do("GET", keys[i]+":lock"))
			}
			if left := s.Do("PTTL", keys[i]+":lock").(int64); (left < 0) != (lease == backends.NoExpiry) || left > 60000 {
				t.Errorf("lock %d ends in %d ms, want %v", i, left, lease)
			}
		}
	}
}
