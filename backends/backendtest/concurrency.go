package backendtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/cachekit-io/cachekit-go/backends"
)

func concurrencyCases() []Case {
	return []Case{
		{Name: "ConcurrentKeys", Rule: "many callers on many keys each find their own value", run: func(t *probe) {
			b := t.backend()
			t.parallel(16, func(g int) error {
				for i := range 20 {
					k, v := key(fmt.Sprint(g, ".", i)), payload(fmt.Sprint(g, "/", i), 100+50*g)
					if err := b.Set(t.ctx, k, v, hour); err != nil {
						return err
					}
					got, err := b.Get(t.ctx, k)
					if err != nil || !bytes.Equal(got, v) {
						return fmt.Errorf("%d bytes came back for %d (%v)", len(got), len(v), err)
					}
				}
				return nil
			})
		}},
		{Name: "ConcurrentOneKey", Rule: "many writers and readers of one key never see a torn value", run: func(t *probe) {
			b := t.backend()
			values := make([][]byte, 8)
			for i := range values {
				values[i] = payload(fmt.Sprint("writer", i), 1000+3000*i)
			}
			t.set(b, key("k"), values[0], hour)
			t.parallel(16, func(g int) error {
				for range 20 {
					if g%2 == 0 {
						if err := b.Set(t.ctx, key("k"), values[g/2], hour); err != nil {
							return err
						}
						continue
					}
					got, err := b.Get(t.ctx, key("k"))
					if err != nil {
						return err
					}
					if !oneOf(got, values) {
						return fmt.Errorf("a value of %d bytes that nobody wrote", len(got))
					}
				}
				return nil
			})
		}},
		{Name: "ConcurrentDelete", Rule: "of concurrent Deletes of one entry, exactly one reports that it existed", run: func(t *probe) {
			b := t.backend()
			for range 10 {
				t.set(b, key("k"), payload("v", 10), hour)
				var mu sync.Mutex
				n := 0
				t.parallel(8, func(int) error {
					ok, err := b.Delete(t.ctx, key("k"))
					mu.Lock()
					defer mu.Unlock()
					if ok {
						n++
					}
					return err
				})
				if n != 1 && t.harness.can("DeleteReport") {
					t.Errorf("%d of 8 Deletes removed the entry, want 1", n)
				}
				t.misses(b, key("k"))
			}
		}},
	}
}

func oneOf(got []byte, values [][]byte) bool {
	for _, v := range values {
		if bytes.Equal(got, v) {
			return true
		}
	}
	return false
}

// parallel runs f in n goroutines and reports their errors.
func (t *probe) parallel(n int, f func(g int) error) {
	t.Helper()
	errs := make([]error, n)
	var wg sync.WaitGroup
	for g := range n {
		wg.Go(func() { errs[g] = f(g) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.clean(err)
		t.Errorf("%v", err)
	}
}

func lifecycleCases() []Case {
	return []Case{
		{Name: "Closed", Rule: "a closed backend returns ErrClosed from every call; closing it twice is fine", run: func(t *probe) {
			b := t.backend()
			for range 2 {
				if err := b.Close(); err != nil {
					t.Errorf("Close = %v", err)
				}
			}
			for _, op := range operations(b) {
				t.failed(op.name+" on a closed backend", op.call(t.ctx, key("k")), backends.ErrClosed)
			}
		}},
		{Name: "CloseDuringCalls", Rule: "Close while calls run ends them or lets them end, without a panic", run: func(t *probe) {
			b := t.backend()
			ops := operations(b)
			var wg sync.WaitGroup
			for g := range 8 {
				wg.Go(func() {
					for i := range 50 {
						if errors.Is(ops[(g+i)%len(ops)].call(t.ctx, key("k")), backends.ErrClosed) {
							return
						}
					}
				})
			}
			if err := b.Close(); err != nil {
				t.Errorf("Close = %v", err)
			}
			wg.Wait()
		}},
		{Name: "Health", Rule: "Health says OK, how long it took and what kind of storage it is, and no secret", run: func(t *probe) {
			h := t.backend().Health(t.ctx)
			if !h.OK || h.Err != nil || h.Latency <= 0 || h.BackendType == "" {
				t.Errorf("Health = OK %t, Err %v, Latency %v, BackendType %q", h.OK, h.Err, h.Latency, h.BackendType)
			}
			for k, v := range h.Details {
				t.cleanText("a detail of Health", k+"="+v)
			}
		}},
		{Name: "HealthFailed", Rule: "a Health that fails is not OK, and says why, how long it took and what kind of storage it is", run: func(t *probe) {
			b := t.backend()
			over, cancel := context.WithCancel(t.ctx)
			cancel()
			t.unhealthy("Health after its context ended", b.Health(over), context.Canceled)
			if err := b.Close(); err != nil {
				t.Errorf("Close = %v", err)
			}
			t.unhealthy("Health of a closed backend", b.Health(t.ctx), backends.ErrClosed)
		}},
		{Name: "Outage", Rule: "when the server is gone, every call is a *backends.Error of kind Transient or Timeout (a wrapper may refuse further ones: CircuitOpen), and Health is not OK", Needs: []string{"Kill"}, run: func(t *probe) {
			s := t.open()
			t.set(s.Backend, key("k"), payload("v", 10), hour)
			s.Kill()
			for _, op := range operations(s.Backend) {
				t.outage(s.Backend, op.name, t.within(outageLimit, op.name, func() error { return op.call(t.ctx, key("k")) }))
			}
			if h := s.Backend.Health(t.ctx); h.OK || h.Err == nil || h.Latency <= 0 || h.BackendType == "" {
				t.Errorf("Health = OK %t, Err %v, Latency %v, BackendType %q", h.OK, h.Err, h.Latency, h.BackendType)
			}
		}},
	}
}

func (t *probe) unhealthy(what string, h backends.Health, class error) {
	t.Helper()
	if h.OK || h.Latency <= 0 || h.BackendType == "" {
		t.Errorf("%s = OK %t, Latency %v, BackendType %q", what, h.OK, h.Latency, h.BackendType)
	}
	t.failed(what, h.Err, class)
}

func (t *probe) outage(b backends.Backend, what string, err error) {
	t.Helper()
	var e *backends.Error
	kinds := []backends.Kind{backends.Transient, backends.Timeout}
	if _, ok := b.(backends.Wrapper); ok {
		kinds = append(kinds, backends.CircuitOpen)
	}
	if !errors.As(err, &e) || !slices.Contains(kinds, e.Kind) {
		t.Errorf("%s = %v, want a *backends.Error of kind Transient or Timeout", what, err)
	}
	t.clean(err)
}
