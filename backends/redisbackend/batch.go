package redisbackend

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
)

// maxBatch is how many keys go to the server at once, so that a large batch
// does not hold up everybody else.
const maxBatch = 1000

// GetMany implements [backends.Batcher] with one MGET for each 1000 keys, or
// on a Cluster one pipeline for each node. TTLs are unknown. A key that holds no
// string is a miss of MGET.
func (b *Backend) GetMany(ctx context.Context, keys []string) []backends.GetResult {
	return b.ReadMany(ctx, keys, alloc)
}

// ReadMany implements [backends.BatchReader]: it is GetMany, with room for what comes
// over a connection that is not go-redis's.
func (b *Backend) ReadMany(ctx context.Context, keys []string, room func(size int) []byte) []backends.GetResult {
	results := make([]backends.GetResult, len(keys))
	for start := 0; start < len(keys); start += maxBatch {
		end := min(start+maxBatch, len(keys))
		b.getMany(ctx, keys[start:end], results[start:end], room)
	}
	return results
}

func (b *Backend) getMany(ctx context.Context, keys []string, results []backends.GetResult, room func(int) []byte) {
	valid := check(keys, func(key string) error { return backends.CheckKey(key) }, func(i int, err error) { results[i].Err = err })
	if len(valid) == 0 {
		return
	}
	if done, err := b.mgetDirectly(ctx, keys, valid, results, room); done {
		if err = b.fail(ctx, "get many", err); err != nil {
			for _, i := range valid {
				results[i] = backends.GetResult{Err: err}
			}
		}
		return
	}
	values, err := do(ctx, b, "get many", func(ctx context.Context) ([]answer, error) {
		if b.sharded {
			return b.getEach(ctx, keys, valid)
		}
		return b.mget(ctx, keys, valid)
	})
	for j, i := range valid {
		switch {
		case err != nil:
			results[i].Err = err
		case values[j].err != nil:
			results[i].Err = b.fail(ctx, "get many", values[j].err)
		default:
			results[i].Entry.Value = values[j].value
		}
	}
}

// answer is what came back for one key of a batch.
type answer struct {
	value []byte
	err   error
}

func (b *Backend) mget(ctx context.Context, keys []string, valid []int) ([]answer, error) {
	args := make([]any, 1, len(valid)+1)
	args[0] = "mget"
	for _, i := range valid {
		args = append(args, keys[i])
	}
	r := newReply(b.limit, len(valid))
	if err := b.process(ctx, redis.NewRawWriteToCmd(ctx, r, args...)); err != nil {
		return nil, err
	}
	if r.err != nil {
		return nil, r.err
	}
	if len(r.values) != len(valid) {
		return nil, errReply
	}
	answers := make([]answer, len(valid))
	for j, v := range r.values {
		if answers[j].value = v; v == nil {
			answers[j].err = redis.Nil
		}
	}
	return answers, nil
}

func (b *Backend) getEach(ctx context.Context, keys []string, valid []int) ([]answer, error) {
	cmds := make([]redis.Cmder, len(valid))
	replies := make([]*reply, len(valid))
	for j, i := range valid {
		replies[j] = newReply(b.limit, -1)
		cmds[j] = redis.NewRawWriteToCmd(ctx, replies[j], "get", keys[i])
	}
	_ = b.pipeline(ctx, cmds)
	answers := make([]answer, len(valid))
	for j, i := range valid {
		a := &answers[j]
		if a.err = cmds[j].Err(); a.err == nil {
			a.value, a.err = replies[j].result()
		}
		if b.cluster && redirected(a.err) {
			a.value, a.err = b.client.Get(ctx, keys[i]).Bytes()
		}
	}
	return answers, nil
}

// SetMany implements [backends.Batcher] with one pipeline for each node.
func (b *Backend) SetMany(ctx context.Context, items []backends.Item) []error {
	errs := make([]error, len(items))
	valid := check(items, func(it backends.Item) error { return b.checkItem("set many", it.Key, it.Value, it.TTL) },
		func(i int, err error) { errs[i] = err })
	b.writeMany(ctx, "set many", valid, changes{
		key:  func(i int) string { return items[i].Key },
		send: func(x *wire, i int) { x.set(items[i].Key, items[i].Value, items[i].TTL) },
		command: func(ctx context.Context, i int) redis.Cmder {
			return setCommand(ctx, items[i].Key, b.hold(ctx, items[i].Value), items[i].TTL)
		},
		report: func(i int, _ int64, err error) { errs[i] = err },
	})
	return errs
}

// DeleteMany implements [backends.Batcher] with one pipeline for each node.
func (b *Backend) DeleteMany(ctx context.Context, keys []string) []backends.DeleteResult {
	results := make([]backends.DeleteResult, len(keys))
	valid := check(keys, backends.CheckKey, func(i int, err error) { results[i].Err = err })
	b.writeMany(ctx, "delete many", valid, changes{
		key:     func(i int) string { return keys[i] },
		send:    func(x *wire, i int) { x.about("unlink", keys[i]) },
		command: func(ctx context.Context, i int) redis.Cmder { return redis.NewIntCmd(ctx, "unlink", keys[i]) },
		report: func(i int, n int64, err error) {
			results[i] = backends.DeleteResult{Existed: err == nil && n > 0, Err: err}
		},
	})
	return results
}

// check returns the indices of the inputs that may be sent and reports the
// others.
func check[T any](inputs []T, ok func(T) error, refuse func(int, error)) []int {
	valid := make([]int, 0, len(inputs))
	for i, in := range inputs {
		if err := ok(in); err != nil {
			refuse(i, err)
			continue
		}
		valid = append(valid, i)
	}
	return valid
}

// changes are the commands of a batch: each as it is sent directly, and as go-redis
// takes it, and what is told of its outcome, with the number that it answered.
type changes struct {
	key     func(i int) string
	send    func(x *wire, i int)
	command func(ctx context.Context, i int) redis.Cmder
	report  func(i int, n int64, err error)
}

// writeMany pipelines a command for each valid index, in order, and reports
// each outcome.
func (b *Backend) writeMany(ctx context.Context, op string, valid []int, c changes) {
	for start := 0; start < len(valid); start += maxBatch {
		b.writePart(ctx, op, valid[start:min(start+maxBatch, len(valid))], c)
	}
}

func (b *Backend) writePart(ctx context.Context, op string, part []int, c changes) {
	report := func(i int, n int64, err error) {
		if unknownOutcome(err) {
			b.doubts.Add(c.key(i))
		}
		c.report(i, n, err)
	}
	keys := make([]string, len(part))
	for j, i := range part {
		keys[j] = c.key(i)
	}
	if err := b.settle(ctx, op, keys); err != nil {
		for _, i := range part {
			c.report(i, 0, err)
		}
		return
	}
	if b.eachDirectly(ctx, op, part, c.send, report) {
		return
	}
	cmds := make([]redis.Cmder, len(part))
	for j, i := range part {
		cmds[j] = c.command(ctx, i)
	}
	_, err := do(ctx, b, op, func(ctx context.Context) (struct{}, error) {
		_ = b.pipeline(ctx, cmds)
		return struct{}{}, nil
	})
	for j, i := range part {
		if err != nil {
			report(i, 0, err)
			continue
		}
		var n int64
		if cmd, ok := cmds[j].(*redis.IntCmd); ok {
			n = cmd.Val()
		}
		report(i, n, b.fail(ctx, op, cmds[j].Err()))
	}
}
