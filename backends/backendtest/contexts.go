package backendtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

const (
	// outageLimit is how long a call may take to notice that a server is gone.
	outageLimit = 30 * time.Second
	// patience is when the context of a call to a stalled server ends.
	patience = 50 * time.Millisecond
	// grace is how much later the call may return (backends, "Contexts").
	grace = 100 * time.Millisecond
	// settle is how long a stalled server's backlog is watched for late writes.
	settle = 500 * time.Millisecond
)

func contextCases() []Case {
	return []Case{
		{Name: "ContextOver", Rule: "a call whose context is over does nothing and returns the context's error", once: true, run: func(t *probe) {
			b := t.backend()
			t.set(b, key("k"), payload("old", 10), hour)
			over, cancel := context.WithCancel(t.ctx)
			cancel()
			for _, op := range operations(b) {
				t.failed(op.name+" after its context ended", op.call(over, key("k")), context.Canceled)
			}
			t.holds(b, key("k"), payload("old", 10))
		}},
		{Name: "DeadlineWhenStalled", Rule: "a deadline ends every call to a stalled server within 100 ms", Needs: []string{"Stall"}, once: true, run: func(t *probe) {
			t.stalled(context.DeadlineExceeded, func() (context.Context, context.CancelFunc) {
				return context.WithTimeout(context.Background(), patience)
			})
		}},
		{Name: "CancelWhenStalled", Rule: "cancellation ends every call to a stalled server within 100 ms", Needs: []string{"Stall"}, once: true, run: func(t *probe) {
			t.stalled(context.Canceled, func() (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(context.Background())
				time.AfterFunc(patience, cancel)
				return ctx, cancel
			})
		}},
		{Name: "AbandonedConnection", Rule: "the connection of an abandoned call serves nobody else: later calls get their own answers", Needs: []string{"Stall"}, once: true, run: func(t *probe) {
			s := t.open()
			for i := range 8 {
				t.set(s.Backend, key(fmt.Sprint(i)), payload(fmt.Sprint(i), 100+i), hour)
			}
			s.Stall()
			t.parallel(8, func(g int) error {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				if _, err := s.Backend.Get(ctx, key(fmt.Sprint(g))); !errors.Is(err, context.DeadlineExceeded) {
					return fmt.Errorf("a stalled server gave: %w", err)
				}
				return nil
			})
			s.Resume()
			for i := range 8 {
				var got []byte
				ok := eventually(outageLimit, func() (done bool) {
					var err error
					got, err = s.Backend.Get(t.ctx, key(fmt.Sprint(i)))
					return err == nil
				})
				if !ok || !bytes.Equal(got, payload(fmt.Sprint(i), 100+i)) {
					t.Errorf("after the stall, Get returned another key's value, or none")
				}
			}
		}},
	}
}

// stalled calls every operation against a stalled server. A slow machine can
// break a bound of 100 ms, so each has three tries.
func (t *probe) stalled(want error, newContext func() (context.Context, context.CancelFunc)) {
	t.Helper()
	for i, op := range operations(t.open().Backend) {
		var took time.Duration
		var err error
		for range 3 {
			took, err = t.stalledOnce(i, newContext)
			if took <= patience+grace && errors.Is(err, want) {
				break
			}
		}
		if took > patience+grace {
			t.Errorf("%s returned %v after its context ended", op.name, took-patience)
		}
		t.failed(op.name+" against a stalled server", err, want)
	}
}

func (t *probe) stalledOnce(i int, newContext func() (context.Context, context.CancelFunc)) (took time.Duration, err error) {
	t.Helper()
	p := t.scope()
	defer p.end()
	s := p.open()
	t.set(s.Backend, key("k"), payload("operation", 100), hour)
	s.Stall()
	ctx, cancel := newContext()
	defer cancel()
	op := operations(s.Backend)[i]
	start := time.Now()
	err = t.within(outageLimit, op.name, func() error { return op.call(ctx, key("k")) })
	return time.Since(start), err
}

func lateWriteCases() []Case {
	late := func(name string, write func(ctx context.Context, b backends.Backend, v []byte) error) Case {
		return Case{Name: "LateWrite" + name, Rule: "a " + name + " that was abandoned does not land over a newer write of another process", Needs: []string{"Stall", "Other"}, once: true, run: func(t *probe) {
			s := t.open()
			other := t.other(s)
			t.set(other, key("k"), payload("first", 100), hour)
			if _, err := s.Backend.Get(t.ctx, key("k")); err != nil { // a connection is open
				t.Fatalf("Get = %v", err)
			}
			s.Stall()
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			passed := payload("abandoned", 20_000)
			err := t.within(outageLimit, name, func() error { return write(ctx, s.Backend, passed) })
			t.failed(name+" against a stalled server", err, context.DeadlineExceeded)
			clear(passed) // the caller may do so at once
			t.set(other, key("k"), payload("newer", 100), hour)
			s.Resume()
			if eventually(settle, func() bool {
				got, err := other.Get(t.ctx, key("k"))
				return err != nil || !bytes.Equal(got, payload("newer", 100))
			}) {
				t.Errorf("the abandoned %s landed after the newer write", name)
			}
			t.set(s.Backend, key("k"), payload("newest", 100), hour)
			t.holds(other, key("k"), payload("newest", 100))
		}}
	}
	return []Case{
		late("Set", func(ctx context.Context, b backends.Backend, v []byte) error { return b.Set(ctx, key("k"), v, hour) }),
		late("Delete", func(ctx context.Context, b backends.Backend, _ []byte) error {
			_, err := b.Delete(ctx, key("k"))
			return err
		}),
	}
}
