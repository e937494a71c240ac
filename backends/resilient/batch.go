package resilient

import (
	"context"
	"errors"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/counted"
)

// batch is the state of one call for many keys: what was asked, what became of
// each, and which are asked next.
type batch[I, R any] struct {
	inputs  []I
	results []R
	next    []int  // nil before the first attempt: all
	turns   []turn // of writes
	send    func(ctx context.Context, b *Backend, inputs []I) []R
	err     func(*R) *error
}

type batcher struct{ b *Backend }

func (m batcher) GetMany(ctx context.Context, keys []string) []backends.GetResult {
	return getMany(ctx, m.b, keys, func(ctx context.Context, b *Backend, keys []string) []backends.GetResult {
		return b.caps.Batcher.GetMany(ctx, keys)
	})
}

type batchReader struct{ b *Backend }

func (m batchReader) ReadMany(ctx context.Context, keys []string, room func(size int) []byte) []backends.GetResult {
	return getMany(ctx, m.b, keys, func(ctx context.Context, b *Backend, keys []string) []backends.GetResult {
		return b.caps.BatchReader.ReadMany(ctx, keys, room)
	})
}

func getMany(ctx context.Context, b *Backend, keys []string, send func(context.Context, *Backend, []string) []backends.GetResult) []backends.GetResult {
	return runBatch(ctx, b, call{op: "get many"}, &batch[string, backends.GetResult]{
		inputs: keys,
		send:   send,
		err:    func(r *backends.GetResult) *error { return &r.Err },
	})
}

func (m batcher) SetMany(ctx context.Context, items []backends.Item) []error {
	return runBatch(ctx, m.b, call{op: "set many"}, &batch[backends.Item, error]{
		inputs: items,
		turns:  turnsOf(m.b, items, func(it backends.Item) string { return it.Key }),
		send: func(ctx context.Context, b *Backend, items []backends.Item) []error {
			return b.caps.Batcher.SetMany(ctx, items)
		},
		err: func(err *error) *error { return err },
	})
}

func (m batcher) DeleteMany(ctx context.Context, keys []string) []backends.DeleteResult {
	return runBatch(ctx, m.b, call{op: "delete many"}, &batch[string, backends.DeleteResult]{
		inputs: keys,
		turns:  turnsOf(m.b, keys, func(key string) string { return key }),
		send: func(ctx context.Context, b *Backend, keys []string) []backends.DeleteResult {
			return b.caps.Batcher.DeleteMany(ctx, keys)
		},
		err: func(r *backends.DeleteResult) *error { return &r.Err },
	})
}

type batchSwapper struct{ b *Backend }

// SwapMany is sent once, as Swap is.
func (m batchSwapper) SwapMany(ctx context.Context, items []backends.SwapItem) []backends.SwapResult {
	return runBatch(ctx, m.b, call{op: "swap many", once: true}, &batch[backends.SwapItem, backends.SwapResult]{
		inputs: items,
		turns:  turnsOf(m.b, items, func(it backends.SwapItem) string { return it.Key }),
		send: func(ctx context.Context, b *Backend, items []backends.SwapItem) []backends.SwapResult {
			return b.caps.BatchSwapper.SwapMany(ctx, items)
		},
		err: func(r *backends.SwapResult) *error { return &r.Err },
	})
}

type batchLocker struct{ b *Backend }

// LockMany is sent once, as Lock is.
func (m batchLocker) LockMany(ctx context.Context, keys []string, lease time.Duration) []backends.LockResult {
	return runBatch(ctx, m.b, call{op: "lock many", once: true}, &batch[string, backends.LockResult]{
		inputs: keys,
		send: func(ctx context.Context, b *Backend, keys []string) []backends.LockResult {
			return b.caps.BatchLocker.LockMany(ctx, keys, lease)
		},
		err: func(r *backends.LockResult) *error { return &r.Err },
	})
}

func (m batchLocker) UnlockMany(ctx context.Context, locks []backends.HeldLock) []backends.UnlockResult {
	return runBatch(ctx, m.b, call{op: "unlock many"}, &batch[backends.HeldLock, backends.UnlockResult]{
		inputs: locks,
		send: func(ctx context.Context, b *Backend, locks []backends.HeldLock) []backends.UnlockResult {
			return b.caps.BatchLocker.UnlockMany(ctx, locks)
		},
		err: func(r *backends.UnlockResult) *error { return &r.Err },
	})
}

type rewriter struct{ b *Backend }

// RewriteMany is sent once, as Swap is.
func (m rewriter) RewriteMany(ctx context.Context, keys []string, replace func(int, []byte) []byte, stored func(int, []byte)) []backends.RewriteResult {
	return runBatch(ctx, m.b, call{op: "rewrite many", once: true}, &batch[string, backends.RewriteResult]{
		inputs: keys,
		turns:  turnsOf(m.b, keys, func(key string) string { return key }),
		send: func(ctx context.Context, b *Backend, keys []string) []backends.RewriteResult {
			return b.caps.Rewriter.RewriteMany(ctx, keys, replace, stored)
		},
		err: func(r *backends.RewriteResult) *error { return &r.Err },
	})
}

// turnsOf numbers the writes of a batch in its order. Of two with one key, the
// later supersedes the earlier, which is not retried then.
func turnsOf[I any](b *Backend, inputs []I, key func(I) string) []turn {
	out := make([]turn, len(inputs))
	for i, in := range inputs {
		out[i] = b.turns.next(key(in))
	}
	return out
}

// runBatch makes one call of the batch and gives each input its result. An error
// of the call as a whole is that of the inputs that have none of their own.
func runBatch[I, R any](ctx context.Context, b *Backend, c call, m *batch[I, R]) []R {
	if len(m.inputs) == 0 {
		return []R{}
	}
	_, err := run(ctx, b, c, m, func(ctx context.Context, b *Backend, m *batch[I, R]) (struct{}, error) {
		return struct{}{}, m.attempt(ctx, b, c.op)
	})
	if m.results == nil {
		m.results = make([]R, len(m.inputs))
		for i := range m.results {
			*m.err(&m.results[i]) = err
		}
		return m.results
	}
	ended := ctx.Err()
	for i := range m.results {
		failure := m.err(&m.results[i])
		if ended != nil && !c.once && passing(*failure) != nil {
			*failure = ended // it would have been retried
		}
		*failure = ownDeadline(ctx, c.op, *failure)
	}
	return m.results
}

// attempt sends what is to be asked and returns the failure of those inputs that
// may be asked again, as the failure of a part if others were answered.
func (m *batch[I, R]) attempt(ctx context.Context, b *Backend, op string) error {
	if m.next == nil {
		m.results = counted.Results(op, m.send(ctx, b, m.inputs), len(m.inputs), m.err)
	} else if inputs := m.pending(); len(inputs) > 0 {
		for j, r := range counted.Results(op, m.send(ctx, b, inputs), len(inputs), m.err) {
			m.results[m.next[j]] = r
		}
	}
	return m.outcome()
}

// pending returns the inputs to ask again, those aside that a newer write has
// superseded.
func (m *batch[I, R]) pending() []I {
	kept, inputs := m.next[:0], []I(nil)
	for _, i := range m.next {
		if m.turns == nil || !m.turns[i].superseded() {
			kept, inputs = append(kept, i), append(inputs, m.inputs[i])
		}
	}
	m.next = kept
	return inputs
}

// outcome sets what is asked next and returns the error of the attempt.
func (m *batch[I, R]) outcome() error {
	var worst *backends.Error
	var other error
	anyAnswer := false
	m.next = []int{}
	for i := range m.results {
		err := *m.err(&m.results[i])
		e := passing(err)
		switch {
		case e != nil && m.turns != nil && m.turns[i].superseded():
			other = final{err}
		case e != nil:
			m.next = append(m.next, i)
			if worst == nil || e.RetryAfter > worst.RetryAfter {
				worst = e
			}
		case err == nil, errors.Is(err, backends.ErrNotFound), errors.Is(err, backends.ErrLocked):
			anyAnswer = true
		default:
			other = err
		}
	}
	switch {
	case worst != nil && anyAnswer:
		return partial{worst}
	case worst != nil:
		return worst
	case anyAnswer:
		return nil
	}
	return other
}
