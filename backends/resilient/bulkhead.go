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

// places bounds the calls that are under way and those that wait. It adds to the
// library's bulkhead that a place which nobody waits for costs two atomic
// operations: its permit is kept for the next call.
type places struct {
	bulkhead   bulkhead.Bulkhead[any]
	maxWaiting int32
	maxWait    time.Duration
	held       atomic.Int64 // permits taken from the bulkhead
	idle       atomic.Int64 // those that no call uses
	waiting    atomic.Int32
}

func newPlaces(o *Options) *places {
	if o.NoBulkhead {
		return nil
	}
	return &places{bulkhead: bulkhead.New[any](uint(o.MaxRunning)), maxWaiting: int32(min(o.MaxWaiting, 1<<30)), maxWait: o.MaxWait}
}

// take waits for a place, and says whether it had to. The error is errFull or the
// context's.
func (p *places) take(ctx context.Context) (waited bool, err error) {
	if p == nil || p.reuse() {
		return false, nil
	}
	if p.bulkhead.TryAcquirePermit() {
		p.held.Add(1)
		return false, nil
	}
	return true, p.wait(ctx)
}

// reuse takes a place by an idle permit, if there is one.
func (p *places) reuse() bool {
	for n := p.idle.Load(); n > 0; n = p.idle.Load() {
		if p.idle.CompareAndSwap(n, n-1) {
			return true
		}
	}
	return false
}

func (p *places) wait(ctx context.Context) error {
	defer p.waiting.Add(-1)
	if p.waiting.Add(1) > p.maxWaiting {
		return errFull
	}
	if p.reuse() { // what came free before it was known that somebody waits
		return nil
	}
	err := p.bulkhead.AcquirePermitWithMaxWait(ctx, p.maxWait)
	if err == nil {
		p.held.Add(1)
	}
	if errors.Is(err, bulkhead.ErrFull) {
		return errFull
	}
	return err
}

// leave hands the place to who waits longest, or keeps it. Who begins to wait
// meanwhile either finds the idle permit or is seen here.
func (p *places) leave() {
	if p == nil {
		return
	}
	if p.waiting.Load() > 0 {
		p.release()
		return
	}
	p.idle.Add(1)
	if p.waiting.Load() > 0 && p.reuse() {
		p.release()
	}
}

func (p *places) release() {
	p.held.Add(-1)
	p.bulkhead.ReleasePermit()
}

// running is how many calls are under way: a snapshot while calls begin and end.
func (p *places) running() int {
	idle := p.idle.Load()
	return int(max(p.held.Load()-idle, 0))
}
