package redisbackend_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

var jumps = []time.Duration{time.Hour, -time.Hour}

// Rule: a call that waits ends by the backend's own limit and not before, however
// the wall clock is set meanwhile, and so does one on a connection that was in use
// before.
func TestLimitWhenTheClockIsSet(t *testing.T) {
	for _, d := range jumps {
		t.Run(d.String(), func(t *testing.T) {
			s := testenv.Redis(t, nil)
			p := testenv.Proxy(t, s.Addr())
			b := open(t, s.URLAt(p.Addr()), &redisbackend.Options{Timeout: 500 * time.Millisecond})
			set(t, b, "k", "v")
			p.Stall()
			start := time.Now()
			failed := make(chan error, 1)
			go func() { _, err := b.Get(t.Context(), "k"); failed <- err }() // which can end, but does not
			time.Sleep(100 * time.Millisecond)
			testenv.MoveClock(t, d)
			select {
			case err := <-failed:
				var timeout *backends.Error
				if !errors.As(err, &timeout) || timeout.Kind != backends.Timeout || time.Since(start) < 400*time.Millisecond {
					t.Errorf("Get = %v after %v, want kind timeout after 500ms", err, time.Since(start))
				}
			case <-time.After(20 * time.Second):
				t.Fatal("the call waits for the clock")
			}
			p.Resume()
			testenv.Poll(t, 20*time.Second, "reads to work again", func() bool { _, err := b.Get(t.Context(), "k"); return err == nil })
			quick(t, true, func(ctx context.Context) error { p.Stall(); defer p.Resume(); _, err := b.Get(ctx, "k"); return err })
		})
	}
}

// Rule: a rest is as long as it is, whatever the wall clock says.
func TestRestsWhenTheClockIsSet(t *testing.T) {
	for _, d := range jumps {
		t.Run(d.String(), func(t *testing.T) {
			s := testenv.Redis(t, nil)
			b := owning(t, open(t, s.URL(), nil))
			redisbackend.Rest(b.Backend)
			if !redisbackend.Resting(b.Backend) {
				t.Fatal("nothing rests: this shows nothing")
			}
			testenv.MoveClock(t, d)
			testenv.Poll(t, 20*time.Second, "the rests to end", func() bool { return !redisbackend.Resting(b.Backend) })
		})
	}
}
