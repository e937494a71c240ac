package resilient

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go/bulkhead"
)

// errFull is returned where there is no place within the time for it.
var errFull = errors.New("too many calls are under way")

// places bounds the calls that are under way and those that wait.
type places struct {
	bulkhead   bulkhead.Bulkhead[any]
	maxWaiting int32
	maxWait    time.Duration
	running    atomic.Int32
	waiting    atomic.Int32
}

func newPlaces(o *Options) *places {
	if o.NoBulkhead {
		return nil
	}
	return &places{bulkhead: bulkhead.New[any](uint(o.MaxRunning)), maxWaiting: int32(min(o.MaxWaiting, 1<<30)), maxWait: o.MaxWait}
}

// take waits for a place. The error is errFull or the context's.
func (p *places) take(ctx context.Context) error {
	if p == nil {
		return nil
	}
	if !p.bulkhead.TryAcquirePermit() {
		if err := p.wait(ctx); err != nil {
			return err
		}
	}
	p.running.Add(1)
	return nil
}

func (p *places) wait(ctx context.Context) error {
	defer p.waiting.Add(-1)
	if p.waiting.Add(1) > p.maxWaiting {
		return errFull
	}
	err := p.bulkhead.AcquirePermitWithMaxWait(ctx, p.maxWait)
	if errors.Is(err, bulkhead.ErrFull) {
		return errFull
	}
	return err
}

func (p *places) leave() {
	if p != nil {
		p.running.Add(-1)
		p.bulkhead.ReleasePermit()
	}
}
