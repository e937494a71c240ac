package redisbackend

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
)

// script is one that Redis runs as one command, and the hash that it is known by.
type script struct{ text, hash string }

func newScript(text string) script { return script{text, redis.NewScript(text).Hash()} }

// script runs s by its hash, and by its text where the server does not know it.
func (b *Backend) script(ctx context.Context, s script, key string, args ...any) (bool, error) {
	n, err := b.integer(ctx, key, append([]any{"evalsha", s.hash, 1, key}, args...)...)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		n, err = b.integer(ctx, key, append([]any{"eval", s.text, 1, key}, args...)...)
	}
	return n > 0, err
}

// runs are those of one script in a batch: the key and the arguments of each, and
// what is told whether it did what it is for.
type runs struct {
	key    func(i int) string
	args   func(i int) []any
	report func(i int, ok bool, err error)
}

// scriptMany is script for each of the places, in one pipeline for each node, or
// two where a server does not know the script: it has run none of it then.
func (b *Backend) scriptMany(ctx context.Context, op string, s script, places []int, r runs) {
	var unknown []int
	b.runMany(ctx, op, places, r, "evalsha", s.hash, func(i int, n int64, err error) {
		var refused *ServerError
		if errors.As(err, &refused) && refused.Code == "NOSCRIPT" {
			unknown = append(unknown, i)
			return
		}
		r.report(i, err == nil && n > 0, err)
	})
	b.runMany(ctx, op, unknown, r, "eval", s.text, func(i int, n int64, err error) { r.report(i, err == nil && n > 0, err) })
}

func (b *Backend) runMany(ctx context.Context, op string, places []int, r runs, command, script string, report func(i int, n int64, err error)) {
	args := func(i int) []any { return append([]any{command, script, 1, r.key(i)}, r.args(i)...) }
	b.writeMany(ctx, op, places, changes{
		key:     r.key,
		send:    func(x *wire, i int) { x.any(args(i)) },
		command: func(ctx context.Context, i int) redis.Cmder { return redis.NewIntCmd(ctx, args(i)...) },
		report:  report,
	})
}
