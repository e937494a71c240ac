package resilient_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/resilient"
)

type contextKey struct{}

// seesContext keeps the context of the last Get.
type seesContext struct {
	backends.Backend
	ctx context.Context
}

func (s *seesContext) Get(ctx context.Context, _ string) ([]byte, error) {
	s.ctx = ctx
	return nil, backends.ErrNotFound
}

// A call whose context has no deadline gets one that is at most a sixteenth of
// Options.Timeout early, and keeps the values of its context.
func TestDeadlinesOfCallsThatBroughtNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &seesContext{}
		b, err := resilient.New(inner, &resilient.Options{Timeout: 16 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		cancelled, cancel := context.WithCancel(context.Background())
		defer cancel()
		for range 50 {
			for name, parent := range map[string]context.Context{"background": context.Background(), "cancellable": cancelled} {
				_, _ = b.Get(context.WithValue(parent, contextKey{}, name), "key")
				deadline, ok := inner.ctx.Deadline()
				if left := time.Until(deadline); !ok || left > 16*time.Second || left < 15*time.Second {
					t.Errorf("%s: %v are left (%t), want 15 to 16 s", name, left, ok)
				}
				if got := inner.ctx.Value(contextKey{}); got != name {
					t.Errorf("%s: the context's value is %v", name, got)
				}
				if name == "background" && inner.ctx.Err() != nil {
					t.Errorf("the shared deadline has ended: %v", inner.ctx.Err())
				}
			}
			time.Sleep(170 * time.Millisecond)
		}
	})
}

// The end of the caller's context ends the call at once, with its cause, and what
// a backend derives from the context with it.
func TestCancelPassesASharedDeadline(t *testing.T) {
	inner := &blocks{entered: make(chan context.Context)}
	b, err := resilient.New(inner, nil)
	if err != nil {
		t.Fatal(err)
	}
	why := errors.New("the user has gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error)
	go func() {
		_, err := b.Get(ctx, "key")
		done <- err
	}()
	seen := <-inner.entered
	if seen.Err() != nil {
		t.Fatalf("the call has ended before its context: %v", seen.Err())
	}
	cancel(why)
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	if got := context.Cause(seen); got != why {
		t.Errorf("the cause is %v", got)
	}
}

// blocks is a backend whose Get waits for the end of a child of its context.
type blocks struct {
	backends.Backend
	entered chan context.Context
}

func (b *blocks) Get(ctx context.Context, _ string) ([]byte, error) {
	child, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	b.entered <- child
	<-child.Done()
	return nil, child.Err()
}
