package redisbackend

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/mono"
)

const (
	// gatherFrom is how many reads have to be under way for the next one to
	// travel with others; fewer are faster alone.
	gatherFrom = 5
	// gatherValue is the average size of a value from which reads travel alone:
	// one connection moves large values slower than several.
	gatherValue = 16 << 10
	// gatherBatch is how many reads travel together at most, gatherRunners how
	// many such groups: one forms while the other is on its way.
	gatherBatch   = 256
	gatherRunners = 2
	// gatherQueue is how many reads wait for a group at most; further ones
	// travel alone.
	gatherQueue = 4096
	// gatherRest is how long reads travel alone after a group failed or was
	// slow.
	gatherRest = time.Second
	// gatherSlow is how long an abandoned read has to have waited to count as a
	// sign of a stall.
	gatherSlow = 50 * time.Millisecond
)

// gather lets concurrent reads share round trips. Only reads: a command that its
// caller has given up still runs, which a write must not. What an abandoned read
// leaves behind belongs to nobody else and is never reused.
type gather struct {
	active atomic.Int64
	rest   atomic.Int64 // until when reads travel alone, by mono
	size   atomic.Int64 // moving average of the sizes of values

	mu      sync.Mutex
	queue   []*read
	runners int
}

// read is one read of a group.
type read struct {
	key   string
	ttl   bool // is wanted too
	entry backends.Entry
	err   error         // of this read
	read  bool          // there is one of these
	done  chan struct{} // has room for the one message that the read is over
}

var reads = sync.Pool{New: func() any { return &read{done: make(chan struct{}, 1)} }}

func newRead(key string, ttl bool) *read {
	r := reads.Get().(*read)
	r.key, r.ttl = key, ttl
	return r
}

// release gives back a read that is over or was never queued; one that was
// abandoned never is.
func (r *read) release() {
	*r = read{done: r.done}
	reads.Put(r)
}

// enter counts a read and reports whether it shall travel with others. leave
// ends what enter began, with the size of the value that was read.
func (g *gather) enter() bool {
	if g.active.Add(1) < gatherFrom || g.size.Load() > gatherValue {
		return false
	}
	rest := g.rest.Load()
	return rest == 0 || mono.Now() > rest
}

func (g *gather) leave(size int) {
	g.active.Add(-1)
	if size > 0 {
		average := g.size.Load()
		g.size.Store(average + (int64(size)-average)/8)
	}
}

func (g *gather) pause() { g.rest.Store(mono.In(gatherRest)) }

// add queues a read if there is room, and reports whether the caller has to
// start a runner for it.
func (g *gather) add(r *read) (queued, start bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.queue) >= gatherQueue {
		return false, false
	}
	g.queue = append(g.queue, r)
	if g.runners == gatherRunners {
		return true, false
	}
	g.runners++
	return true, true
}

// take returns the next group, or nil if the runner shall end.
func (g *gather) take() []*read {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.queue) == 0 {
		g.runners--
		return nil
	}
	n := min(len(g.queue), gatherBatch)
	group := g.queue[:n:n]
	g.queue = g.queue[n:]
	return group
}

// next is take after the callers of the last group had their turn: most of them
// read on, and now travel together.
func (g *gather) next() []*read {
	runtime.Gosched()
	return g.take()
}

// runReads sends groups until none is left. It is bounded by the client's own
// timeouts.
func (b *Backend) runReads() {
	for group := b.reads.take(); group != nil; group = b.reads.next() {
		if !b.readDirectly(group) {
			b.readPipelined(group)
		}
		for _, r := range group {
			r.done <- struct{}{}
		}
	}
}

// readPipelined makes the reads of a group by go-redis.
func (b *Backend) readPipelined(group []*read) {
	ctx := context.Background()
	cmds := make([]redis.Cmder, 0, 2*len(group))
	replies := make([]reply, len(group))
	for i, r := range group {
		replies[i].init(b.limit, -1)
		cmds = append(cmds, redis.NewRawWriteToCmd(ctx, &replies[i], "get", r.key))
		if r.ttl {
			cmds = append(cmds, redis.NewIntCmd(ctx, "pttl", r.key))
		}
	}
	_ = b.pipeline(ctx, cmds)
	for i, r := range group {
		get := cmds[0]
		cmds = cmds[1:]
		value, err := replies[i].result()
		if r.ttl {
			r.entry, r.err = entry(value, err, cmds[0].(*redis.IntCmd))
			cmds = cmds[1:]
		} else {
			r.entry.Value, r.err = value, err
		}
		r.read = get.Err() == nil
	}
}

// together makes a read with others. done is false if it has to be made alone:
// the group failed, or the key has moved.
func (b *Backend) together(ctx context.Context, op, key string, ttl bool) (e backends.Entry, done bool, err error) {
	if b.closed.Load() || ctx.Err() != nil {
		return backends.Entry{}, false, nil
	}
	r := newRead(key, ttl)
	start := time.Now()
	queued, runner := b.reads.add(r)
	if !queued {
		r.release()
		return backends.Entry{}, false, nil
	}
	if runner {
		go b.runReads()
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		if time.Since(start) > gatherSlow {
			b.reads.pause()
		}
		return backends.Entry{}, true, ctx.Err()
	}
	defer r.release()
	switch {
	case !r.read:
		b.reads.pause()
		return backends.Entry{}, false, nil
	case redirected(r.err):
		return backends.Entry{}, false, nil
	}
	return r.entry, true, b.fail(ctx, op, r.err)
}
