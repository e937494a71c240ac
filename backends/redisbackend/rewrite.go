package redisbackend

import (
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
)

// resetWithin is how long a connection that was left in a transaction may take to
// end it before it is closed: a fraction of the 100 ms that package backends
// allows.
const resetWithin = 50 * time.Millisecond

// RewriteMany implements [backends.Rewriter]. A single server watches up to 50
// entries from before they are read until they are written, by optimistic
// transactions. What it refuses so, and every entry of a Cluster or a Ring, is read
// as by GetMany and not rewritten; nor is what somebody writes meanwhile, with the
// rest of its transaction.
func (b *Backend) RewriteMany(ctx context.Context, keys []string, replace func(i int, value []byte) []byte, stored func(i int, value []byte)) []backends.RewriteResult {
	results := make([]backends.RewriteResult, len(keys))
	left := check(keys, backends.CheckKey, func(i int, err error) { results[i].Err = err })
	// A call that can outlive its caller must not share a connection with him.
	if single, ok := b.client.(*redis.Client); ok && (!b.detached.Load() || ctx.Done() == nil) {
		left = b.rewrite(ctx, left, keys, func() *rewriting {
			return &rewriting{b: b, conn: single.Conn(), replace: replace, stored: stored, results: results}
		})
	}
	if len(left) > 0 {
		b.readOnly(ctx, keys, left, results, replace)
	}
	return results
}

// readOnly reads entries that cannot be rewritten.
func (b *Backend) readOnly(ctx context.Context, keys []string, left []int, results []backends.RewriteResult, replace func(int, []byte) []byte) {
	names := make([]string, len(left))
	for j, i := range left {
		names[j] = keys[i]
	}
	for j, r := range b.GetMany(ctx, names) {
		switch i := left[j]; {
		case r.Err == nil:
			results[i].Found = true
			replace(i, r.Entry.Value)
		case r.Err != backends.ErrNotFound:
			results[i].Err = r.Err
		}
	}
}

// rewrite runs a transaction for each 50 entries and returns those that no
// transaction has read.
func (b *Backend) rewrite(ctx context.Context, valid []int, keys []string, begin func() *rewriting) (left []int) {
	for part := range slices.Chunk(valid, maxWatched) {
		w := begin()
		var again []int
		w.at, again = distinct(part, func(i int) string { return keys[i] })
		left = append(left, again...)
		for _, i := range w.at {
			w.t.keys = append(w.t.keys, keys[i])
		}
		read, err := w.run(ctx)
		switch {
		case err != nil:
			for _, i := range w.at {
				w.results[i].Err = err
			}
		case !read:
			left = append(left, w.at...)
		}
	}
	return left
}

// rewriting is one transaction of RewriteMany.
type rewriting struct {
	b       *Backend
	t       transaction
	conn    *redis.Conn
	at      []int // places of the keys
	replace func(i int, value []byte) []byte
	stored  func(i int, value []byte) // may be nil
	results []backends.RewriteResult
	open    bool // the server may be in the transaction
}

// run reports whether the entries were read. The function of the caller runs
// between two exchanges, in the caller's goroutine.
func (w *rewriting) run(ctx context.Context) (read bool, err error) {
	const op = "rewrite many"
	if err := w.b.settle(ctx, op, w.t.keys); err != nil {
		return false, err
	}
	defer w.conn.Close()
	defer w.forget(ctx)
	r := newReply(w.b.limit, len(w.t.keys))
	read, err = do(ctx, w.b, op, func(ctx context.Context) (bool, error) {
		w.open = true
		return w.t.watch(ctx, w.conn, r)
	})
	if err != nil || !read {
		return false, err
	}
	chosen := w.choose(op, r.values)
	if !slices.Contains(chosen, true) {
		return true, nil
	}
	return true, w.commit(ctx, op, chosen)
}

// commit writes what was chosen and reads it back.
func (w *rewriting) commit(ctx context.Context, op string, chosen []bool) error {
	var args []any
	var places []int
	if w.stored != nil {
		args = append(args, "mget")
		for j, ok := range chosen {
			if ok {
				args, places = append(args, w.t.keys[j]), append(places, w.at[j])
			}
		}
	}
	back := newReply(w.b.limit, len(places))
	written, err := do(ctx, w.b, op, func(ctx context.Context) ([]bool, error) {
		w.open = false
		if w.stored == nil {
			return w.t.commit(ctx, w.conn, chosen, nil)
		}
		return w.t.commit(ctx, w.conn, chosen, redis.NewRawWriteToCmd(ctx, back, args...))
	})
	if !w.open && unknownOutcome(err) {
		w.b.doubts.Add(w.t.keys...)
	}
	for j := range written {
		w.results[w.at[j]].Rewritten = written[j]
	}
	if written != nil && w.stored != nil {
		w.readBack(op, places, back)
	}
	return err
}

// readBack hands out what was read after the transaction.
func (w *rewriting) readBack(op string, places []int, back *reply) {
	err := back.err
	if err == nil && back.taken != len(places) {
		err = errReply
	}
	for n, i := range places {
		switch {
		case !w.results[i].Rewritten:
		case err != nil:
			w.results[i].Err = w.b.fail(context.Background(), op, err)
		default:
			w.stored(i, back.values[n])
		}
	}
}

// choose asks the caller what becomes of the values. A replacement that is too
// large is refused alone.
func (w *rewriting) choose(op string, values [][]byte) (chosen []bool) {
	chosen, w.t.new = make([]bool, len(values)), make([][]byte, len(values))
	for j, value := range values {
		if value == nil {
			continue
		}
		r := &w.results[w.at[j]]
		r.Found = true
		if w.t.new[j] = w.replace(w.at[j], value); w.t.new[j] != nil {
			r.Err = w.b.checkItem(op, w.t.keys[j], w.t.new[j], backends.NoExpiry)
			chosen[j] = r.Err == nil
		}
	}
	return chosen
}

// forget ends a transaction that has not come to its EXEC: because it changes
// nothing, because the caller's context has ended, or while a panic of his passes.
// If the server does not answer, go-redis drops the connection.
func (w *rewriting) forget(ctx context.Context) {
	if !w.open {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), resetWithin)
	defer cancel()
	c := w.b.watch.begin(ctx, w.b.timeout)
	defer w.b.watch.end(c)
	_ = reset(c, w.conn)
}
