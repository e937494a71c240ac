package redisbackend

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/mono"
)

// watch tells a connection which call it serves. go-redis hands a connection
// nothing of a call but its deadline, so each running call has a time zone of
// its own, in which it states that deadline. If go-redis ceased to pass
// deadlines on unchanged, TestCancelFreesTheConnection would fail.
type watch struct {
	bulk int // the largest bulk string that a reply may hold, in bytes

	tags sync.Map // *time.Location to *tag

	failed atomic.Int64 // when a connection last failed, by mono

	mu   sync.Mutex
	free []*tag
	made int
}

// tag is a time zone and the call that has it now. There are as many as calls
// have ever run at once.
type tag struct {
	zone *time.Location
	call atomic.Pointer[call]
}

// call is the context that go-redis sees: the caller's, with a deadline that is
// never later than the backend's own limit.
type call struct {
	context.Context
	deadline time.Time
	tag      *tag
}

// Deadline returns the end of the call.
func (c *call) Deadline() (time.Time, bool) { return c.deadline, true }

// begin starts a call that ends with ctx, but after limit at the latest.
func (w *watch) begin(ctx context.Context, limit time.Duration) *call {
	t := w.take()
	c := &call{Context: ctx, deadline: ending(ctx, time.Now(), limit).In(t.zone), tag: t}
	t.call.Store(c)
	return c
}

// ending is when a call ends that begins now.
func ending(ctx context.Context, now time.Time, limit time.Duration) time.Time {
	end := now.Add(limit)
	if d, ok := ctx.Deadline(); ok && d.Before(end) {
		return d
	}
	return end
}

// failure notes that a connection has failed: the others may have, too.
func (w *watch) failure() { w.failed.Store(mono.Now()) }

// end forgets a call that has returned.
func (w *watch) end(c *call) {
	c.tag.call.Store(nil)
	w.mu.Lock()
	w.free = append(w.free, c.tag)
	w.mu.Unlock()
}

func (w *watch) take() *tag {
	w.mu.Lock()
	defer w.mu.Unlock()
	if last := len(w.free) - 1; last >= 0 {
		t := w.free[last]
		w.free = w.free[:last]
		return t
	}
	w.made++
	t := &tag{zone: time.FixedZone("call "+strconv.Itoa(w.made), 0)}
	w.tags.Store(t.zone, t)
	return t
}

// call returns the call that states deadline t, or nil.
func (w *watch) call(t time.Time) *call {
	v, ok := w.tags.Load(t.Location())
	if !ok {
		return nil
	}
	return v.(*tag).call.Load()
}
