package resilient_test

import (
	"context"
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
