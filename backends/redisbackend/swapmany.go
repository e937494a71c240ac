package redisbackend

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
)

// maxWatched is how many keys one transaction watches: Redis looks through the
// list of watched keys for each that is added.
const maxWatched = 50

// SwapMany implements [backends.BatchSwapper]. A single server runs optimistic
// transactions of 50 entries; a Cluster or a Ring runs the script of Swap for each
// entry, in one pipeline for each node. So does a single server for entries that
// somebody else is writing, and for a user who may not run WATCH, MULTI and EXEC.
func (b *Backend) SwapMany(ctx context.Context, items []backends.SwapItem) []backends.SwapResult {
	results := make([]backends.SwapResult, len(items))
	valid := check(items, func(it backends.SwapItem) error { return b.checkItem("swap many", it.Key, it.New, backends.NoExpiry) },
		func(i int, err error) { results[i].Err = err })
	if single, ok := b.client.(*redis.Client); ok {
		valid = b.transact(ctx, single, items, valid, results)
	}
	b.scriptMany(ctx, "swap many", swap, valid, runs{
		key:    func(i int) string { return items[i].Key },
		args:   func(i int) []any { return []any{b.hold(ctx, items[i].Old), b.hold(ctx, items[i].New)} },
		report: func(i int, ok bool, err error) { results[i] = backends.SwapResult{Swapped: ok, Err: err} },
	})
	return results
}

// transact swaps the valid items in transactions and returns those that no
// transaction has decided.
func (b *Backend) transact(ctx context.Context, client *redis.Client, items []backends.SwapItem, valid []int, results []backends.SwapResult) (left []int) {
	for part := range slices.Chunk(valid, maxWatched) {
		its, again := distinct(part, func(i int) string { return items[i].Key })
		left = append(left, again...)
		t := &transaction{}
		for _, i := range its {
			it := items[i]
			t.keys = append(t.keys, it.Key)
			t.old, t.new = append(t.old, b.hold(ctx, it.Old)), append(t.new, b.hold(ctx, it.New))
		}
		swapped, err := write(ctx, b, "swap many", t.keys, func(ctx context.Context) ([]bool, error) { return t.run(ctx, b, client) })
		switch {
		case err != nil:
			for _, i := range its {
				results[i].Err = err
			}
		case swapped == nil:
			left = append(left, its...)
		default:
			for j, i := range its {
				results[i].Swapped = swapped[j]
			}
		}
	}
	return left
}

// transaction swaps entries of different keys, all that hold their old value or,
// if somebody writes one of them meanwhile, none.
type transaction struct {
	keys     []string
	old, new [][]byte
}

// distinct splits places by whether their key comes for the first time: a
// transaction has each key once.
func distinct(places []int, key func(i int) string) (first, again []int) {
	seen := make(map[string]bool, len(places))
	for _, i := range places {
		if k := key(i); seen[k] {
			again = append(again, i)
		} else {
			seen[k] = true
			first = append(first, i)
		}
	}
	return first, again
}

// run says which entries were swapped; nil if the server has not carried the
// transaction out. The error is one after which the outcome is unknown.
func (t *transaction) run(ctx context.Context, b *Backend, client *redis.Client) ([]bool, error) {
	conn := client.Conn()
	defer conn.Close()
	held := make([]bool, len(t.keys))
	r := newReply(b.limit, len(t.keys))
	r.take = func(i int, value []byte) { held[i] = value != nil && bytes.Equal(value, t.old[i]) }
	watching, err := t.watch(ctx, conn, r)
	switch {
	case err != nil:
		return nil, err
	case !watching:
		return nil, reset(ctx, conn)
	case !slices.Contains(held, true):
		return held, reset(ctx, conn)
	}
	return t.commit(ctx, conn, held, nil)
}

// watch begins the transaction and has r take the values; false if the server
// refuses. MULTI is answered before a SET is sent: a server that refuses it would
// run each SET as it comes.
func (t *transaction) watch(ctx context.Context, conn *redis.Conn, r *reply) (bool, error) {
	args := make([]any, 1, len(t.keys)+1)
	for _, key := range t.keys {
		args = append(args, key)
	}
	command := func(name string) []any {
		args[0] = name
		return slices.Clone(args)
	}
	watch, multi := redis.NewStatusCmd(ctx, command("watch")...), redis.NewStatusCmd(ctx, "multi")
	if err := exchange(ctx, conn, watch, redis.NewRawWriteToCmd(ctx, r, command("mget")...), multi); err != nil {
		return false, err
	}
	if watch.Err() != nil || r.err != nil || multi.Err() != nil {
		return false, nil
	}
	if r.taken != len(t.keys) {
		return false, errReply
	}
	return true, nil
}

// commit writes the chosen entries and says which it did, as run does. then, if
// any, is what follows in the same round trip.
func (t *transaction) commit(ctx context.Context, conn *redis.Conn, chosen []bool, then redis.Cmder) ([]bool, error) {
	sets, exec := t.sets(ctx, chosen), redis.NewSliceCmd(ctx, "exec")
	cmds := append(sets, exec)
	if then != nil {
		cmds = append(cmds, then)
	}
	if err := exchange(ctx, conn, cmds...); err != nil {
		return nil, err
	}
	answers, err := exec.Result()
	switch {
	case err != nil: // nil: a key was written; EXECABORT: the server refused a command
		return nil, nil
	case len(answers) != len(sets):
		return nil, errReply
	}
	written := make([]bool, len(chosen))
	for i := range chosen {
		if !chosen[i] {
			continue
		}
		if refused, ok := answers[0].(error); ok {
			return nil, refused
		}
		written[i], answers = answers[0] == "OK", answers[1:]
	}
	return written, nil
}

// sets are the commands that replace what is chosen; XX: before 6.0.9 a watched
// key that expires does not stop the transaction.
func (t *transaction) sets(ctx context.Context, chosen []bool) (cmds []redis.Cmder) {
	for i, ok := range chosen {
		if ok {
			cmds = append(cmds, redis.NewStatusCmd(ctx, "set", t.keys[i], t.new[i], "xx", "keepttl"))
		}
	}
	return cmds
}

// reset ends a transaction that changes nothing, so that the connection can serve
// others.
func reset(ctx context.Context, conn *redis.Conn) error {
	return exchange(ctx, conn, redis.NewStatusCmd(ctx, "discard"), redis.NewStatusCmd(ctx, "unwatch"))
}

// exchange sends cmds in one round trip. The error is not one of the server's
// answers, which are in the commands.
func exchange(ctx context.Context, conn *redis.Conn, cmds ...redis.Cmder) error {
	p := conn.Pipeline()
	for _, cmd := range cmds {
		if err := p.Process(ctx, cmd); err != nil {
			return err
		}
	}
	_, err := p.Exec(ctx)
	for i := 0; isAnswer(err) && i < len(cmds); i++ {
		err = cmds[i].Err()
	}
	if isAnswer(err) {
		return nil
	}
	return err
}

func isAnswer(err error) bool {
	var answer redis.Error
	return err == nil || errors.As(err, &answer)
}
