package redisbackend

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
)

// do runs f within ctx. When ctx ends, the connections that f is using fail, so
// that f returns soon and holds nothing of the caller's: no goroutine, no copy.
// f must pass its context on to every command.
func do[T any](ctx context.Context, b *Backend, op string, f func(context.Context) (T, error)) (T, error) {
	var zero T
	if b.closed.Load() {
		return zero, backends.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return zero, err
	}
	if ctx.Done() == nil {
		v, err := f(ctx)
		return v, b.fail(ctx, op, err)
	}
	if err := b.nodes.adopt(ctx, b); err != nil {
		return zero, b.fail(ctx, op, err)
	}
	if b.detached.Load() {
		return detach(ctx, b, op, f)
	}
	c := b.watch.begin(ctx, b.timeout)
	v, err := f(c)
	b.watch.end(c)
	return v, b.fail(ctx, op, err)
}

// detach is do for a client whose connections are not all watched: f runs in a
// goroutine that may outlive the call by the client's I/O timeouts.
func detach[T any](ctx context.Context, b *Backend, op string, f func(context.Context) (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	c := b.watch.begin(ctx, b.timeout)
	go func() {
		v, err := f(c)
		b.watch.end(c)
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.v, b.fail(ctx, op, r.err)
	case <-ctx.Done():
		var zero T
		return zero, b.fail(ctx, op, ctx.Err())
	}
}

// write is do for a command that changes keys. Bytes of a write that was given
// up may lie in the server's socket buffer and be executed when a stalled server
// goes on. Redis executes them in the order of their arrival, before anything
// sent later, unless it reads with several threads: a read of the same key,
// answered before the next write is sent, settles what came before.
func write[T any](ctx context.Context, b *Backend, op string, keys []string, f func(context.Context) (T, error)) (T, error) {
	if err := b.settle(ctx, op, keys); err != nil {
		var zero T
		return zero, err
	}
	v, err := do(ctx, b, op, f)
	if unknownOutcome(err) {
		b.doubts.Add(keys...)
	}
	return v, err
}

// settle has what was written to keys with an unknown outcome executed or dead.
func (b *Backend) settle(ctx context.Context, op string, keys []string) error {
	marks := b.doubts.Find(len(keys), func(i int) string { return keys[i] })
	if len(marks) == 0 {
		return nil
	}
	_, err := do(ctx, b, op, func(ctx context.Context) (int, error) { return 0, b.awaitNodes(ctx, keys) })
	if err == nil {
		b.doubts.Settle(marks)
	}
	return err
}

// settleOne is settle without an allocation where there is nothing to settle.
func (b *Backend) settleOne(ctx context.Context, op, key string) error {
	if len(b.doubts.Find(1, func(int) string { return key })) == 0 {
		return nil
	}
	return b.settle(ctx, op, []string{key})
}

// once marks a command that go-redis must not send again. A Cluster client
// repeats commands after a network failure, whatever its MaxRetries are: a write
// whose reply was lost would be executed again, over whatever came meanwhile.
type once struct{ redis.Cmder }

// NoRetry tells go-redis so.
func (once) NoRetry() bool { return true }

// once returns cmd as a command that is sent once on a Cluster too.
func (b *Backend) once(cmd redis.Cmder) redis.Cmder {
	if !b.cluster || cmd.NoRetry() {
		return cmd
	}
	return once{cmd}
}

// process sends a command, once.
func (b *Backend) process(ctx context.Context, cmd redis.Cmder) error {
	return b.client.Process(ctx, b.once(cmd))
}

// awaitNodes makes one round trip to the nodes of all keys.
func (b *Backend) awaitNodes(ctx context.Context, keys []string) error {
	cmds := make([]redis.Cmder, len(keys))
	for i, key := range keys {
		cmds[i] = redis.NewIntCmd(ctx, "exists", key)
	}
	return b.pipeline(ctx, cmds)
}
