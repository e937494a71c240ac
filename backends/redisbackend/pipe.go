package redisbackend

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
)

const (
	// pipeFrom is how many reads have to be under way for the next one to share
	// a connection; fewer are faster with one each.
	pipeFrom = 8
	// pipeFull is how many reads share at most, far below the window at which
	// go-redis would block the submitter.
	pipeFull = 8192
	// pipeRest is how long reads stay on the pool after the shared connection
	// failed or was slow.
	pipeRest = time.Second
	// pipeSlow is how long an abandoned read has to have waited to count as a
	// sign of a stall.
	pipeSlow = 50 * time.Millisecond
)

// pipeValue is the average size of a value from which reads stay on the pool:
// one connection moves large values slower than several.
const pipeValue = 16 << 10

// readPipe sends concurrent reads over one shared connection. Only reads: a
// command that is given up stays on the connection, which a write must not. A
// nil readPipe does nothing.
type readPipe struct {
	pipe   *redis.AutoPipeliner
	active atomic.Int64
	rest   atomic.Int64 // Unix time in ns until which the pipe is not used
	size   atomic.Int64 // moving average of the sizes of values
}

func newReadPipe(client redis.UniversalClient) (*readPipe, error) {
	p, err := client.AsyncAutoPipelineWithOptions(&redis.AutoPipelineOptions{FullDuplex: true})
	if err != nil {
		return nil, err
	}
	return &readPipe{pipe: p}, nil
}

// enter counts a read and reports whether it shall share the connection. leave
// ends what enter began, with the size of the value that was read.
func (p *readPipe) enter(ctx context.Context, b *Backend) bool {
	if p == nil {
		return false
	}
	n := p.active.Add(1)
	if n < pipeFrom || n > pipeFull || p.size.Load() > pipeValue || b.closed.Load() || ctx.Err() != nil {
		return false
	}
	rest := p.rest.Load()
	return rest == 0 || time.Now().UnixNano() > rest
}

func (p *readPipe) leave(size int) {
	if p == nil {
		return
	}
	p.active.Add(-1)
	if size > 0 {
		average := p.size.Load()
		p.size.Store(average + (int64(size)-average)/8)
	}
}

// share sends cmds over the shared connection. It reports false if the
// connection failed: the read has to be made on the pool then. The error is that
// of ctx.
func (p *readPipe) share(ctx context.Context, cmds ...redis.Cmder) (bool, error) {
	start := time.Now()
	futures := make([]redis.AutoFuture, len(cmds))
	for i, cmd := range cmds {
		futures[i] = p.pipe.Submit(ctx, cmd)
	}
	for _, f := range futures {
		err := f.WaitContext(ctx)
		if ended := ctx.Err(); ended != nil && errors.Is(err, ended) {
			if time.Since(start) > pipeSlow {
				p.pause()
			}
			return true, ended
		}
		var answer redis.Error
		if err != nil && !errors.As(err, &answer) {
			p.pause()
			return false, nil
		}
	}
	return true, nil
}

func (p *readPipe) pause() { p.rest.Store(time.Now().Add(pipeRest).UnixNano()) }

func (p *readPipe) close() {
	if p != nil {
		_ = p.pipe.Close()
	}
}

// sharedGet is Get over the shared connection; done is false if the pool has to
// make the read.
func (b *Backend) sharedGet(ctx context.Context, key string) (value []byte, done bool, err error) {
	r := newReply(b.limit, -1)
	done, err = b.reads.share(ctx, redis.NewRawWriteToCmd(ctx, r, "get", key))
	if err != nil || !done {
		return nil, done, err
	}
	value, err = r.result()
	if redirected(err) {
		return nil, false, nil
	}
	return value, true, fail(ctx, "get", err)
}

// sharedEntry is GetEntry over the shared connection.
func (b *Backend) sharedEntry(ctx context.Context, key string) (e backends.Entry, done bool, err error) {
	r, pttl := newReply(b.limit, -1), redis.NewIntCmd(ctx, "pttl", key)
	done, err = b.reads.share(ctx, redis.NewRawWriteToCmd(ctx, r, "get", key), pttl)
	if err != nil || !done {
		return backends.Entry{}, done, err
	}
	value, err := r.result()
	if redirected(err) || redirected(pttl.Err()) {
		return backends.Entry{}, false, nil
	}
	e, err = entry(value, err, pttl)
	return e, true, fail(ctx, "get entry", err)
}
