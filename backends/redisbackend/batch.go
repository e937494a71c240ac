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
	results := make([]backends.GetResult, len(keys))
	for start := 0; start < len(keys); start += maxBatch {
		end := min(start+maxBatch, len(keys))
		b.getMany(ctx, keys[start:end], results[start:end])
	}
	return results
}

func (b *Backend) getMany(ctx context.Context, keys []string, results []backends.GetResult) {
	valid := check(keys, func(key string) error { return backends.CheckKey(key) }, func(i int, err error) { results[i].Err = err })
	if len(valid) == 0 {
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
	b.writeMany(ctx, "set many", valid, func(i int) string { return items[i].Key }, func(ctx context.Context, i int) redis.Cmder {
		return setCommand(ctx, items[i].Key, b.hold(ctx, items[i].Value), items[i].TTL)
	}, func(i int, _ redis.Cmder, err error) { errs[i] = err })
	return errs
}

// DeleteMany implements [backends.Batcher] with one pipeline for each node.
func (b *Backend) DeleteMany(ctx context.Context, keys []string) []backends.DeleteResult {
	results := make([]backends.DeleteResult, len(keys))
	valid := check(keys, backends.CheckKey, func(i int, err error) { results[i].Err = err })
	b.writeMany(ctx, "delete many", valid, func(i int) string { return keys[i] }, func(ctx context.Context, i int) redis.Cmder {
		return redis.NewIntCmd(ctx, "unlink", keys[i])
	}, func(i int, cmd redis.Cmder, err error) {
		results[i].Err = err
		if n, ok := cmd.(*redis.IntCmd); ok && err == nil {
			results[i].Existed = n.Val() > 0
		}
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

// writeMany pipelines a command for each valid index, in order, and reports
// each outcome.
func (b *Backend) writeMany(ctx context.Context, op string, valid []int, key func(int) string,
	command func(context.Context, int) redis.Cmder, report func(int, redis.Cmder, error)) {
	for start := 0; start < len(valid); start += maxBatch {
		part := valid[start:min(start+maxBatch, len(valid))]
		keys := make([]string, len(part))
		for j, i := range part {
			keys[j] = key(i)
		}
		cmds, err := write(ctx, b, op, keys, func(ctx context.Context) ([]redis.Cmder, error) {
			cmds := make([]redis.Cmder, len(part))
			for j, i := range part {
				cmds[j] = command(ctx, i)
			}
			_ = b.pipeline(ctx, cmds)
			return cmds, nil
		})
		b.reportMany(ctx, op, part, keys, cmds, err, report)
	}
}

func (b *Backend) reportMany(ctx context.Context, op string, part []int, keys []string, cmds []redis.Cmder, err error,
	report func(int, redis.Cmder, error)) {
	var doubtful []string
	for j, i := range part {
		if err != nil {
			report(i, nil, err)
			continue
		}
		failed := b.fail(ctx, op, cmds[j].Err())
		if unknownOutcome(failed) {
			doubtful = append(doubtful, keys[j])
		}
		report(i, cmds[j], failed)
	}
	if len(doubtful) > 0 {
		b.doubts.Add(doubtful...)
	}
}
