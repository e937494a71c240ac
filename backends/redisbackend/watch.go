package redisbackend

import (
	"context"
	"strconv"
	"sync"
	"time"
)

// watch finds the connections that serve a call. go-redis hands a connection
// nothing of a call but its deadline, so each running call has a time zone of
// its own, in which it states that deadline. If go-redis ceased to pass
// deadlines on unchanged, TestCancelFreesTheConnection would fail.
type watch struct {
	tags sync.Map // *time.Location to *tag

	mu   sync.Mutex
	free []*tag
	made int
}

// tag is a time zone and the call that has it now. There are as many as calls
// have ever run at once.
type tag struct {
	zone *time.Location

	mu   sync.Mutex
	call *call
}

// call is the context that go-redis sees: the caller's, with a deadline that is
// never later than the backend's own limit.
type call struct {
	context.Context
	deadline time.Time
	tag      *tag

	mu    sync.Mutex
	ended bool
	conns []*conn
	first [1]*conn
}

// Deadline returns the end of the call.
func (c *call) Deadline() (time.Time, bool) { return c.deadline, true }

// begin starts a call that ends with ctx, but after limit at the latest.
func (w *watch) begin(ctx context.Context, limit time.Duration) *call {
	t := w.take()
	end := time.Now().Add(limit)
	if d, ok := ctx.Deadline(); ok && d.Before(end) {
		end = d
	}
	c := &call{Context: ctx, deadline: end.In(t.zone), tag: t}
	t.mu.Lock()
	t.call = c
	t.mu.Unlock()
	return c
}

// end forgets a call that has returned.
func (w *watch) end(c *call) {
	c.tag.mu.Lock()
	c.tag.call = nil
	c.tag.mu.Unlock()
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
	found := v.(*tag)
	found.mu.Lock()
	defer found.mu.Unlock()
	return found.call
}

// attach notes that cn serves the call, and reports false if it has ended.
func (c *call) attach(cn *conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	if c.conns == nil {
		c.conns = c.first[:0]
	}
	if last := len(c.conns) - 1; last < 0 || c.conns[last] != cn {
		c.conns = append(c.conns, cn)
	}
	return true
}

// abandon tears the call off its connections, now and as they come.
func (c *call) abandon() {
	c.mu.Lock()
	c.ended = true
	conns := c.conns
	c.mu.Unlock()
	for _, cn := range conns {
		cn.abandon(c)
	}
}
