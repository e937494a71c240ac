package memcachedbackend

import (
	"context"
	"errors"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/cachekit-io/cachekit-go/backends"
)

// do runs f on a connection to the server of key, within ctx.
func do[T any](ctx context.Context, b *Backend, op, key string, f func(*session) (T, error)) (T, error) {
	s, err := b.server(key)
	if err != nil {
		var zero T
		return zero, fail(ctx, op, err)
	}
	v, _, err := run(ctx, b, s, f)
	return v, fail(ctx, op, err)
}

// write is do for a request that changes the entry of key.
func write[T any](ctx context.Context, b *Backend, op, key string, f func(*session) (T, error)) (T, error) {
	var zero T
	s, err := b.server(key)
	if err == nil {
		err = b.settle(ctx, s, 1, func(int) string { return key })
	}
	if err != nil {
		return zero, fail(ctx, op, err)
	}
	v, doubtful, err := run(ctx, b, s, f)
	if doubtful {
		b.doubts.Add(key)
	}
	return v, fail(ctx, op, err)
}

// run runs f on a connection to s. If an idle connection turns out to be closed
// before any of the answer has come, f runs once more, on a new one: servers
// close connections that they have not heard from. doubtful tells whether a
// request was sent and not answered.
func run[T any](ctx context.Context, b *Backend, s *server, f func(*session) (T, error)) (v T, doubtful bool, err error) {
	if b.closed.Load() {
		return v, false, backends.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return v, false, err
	}
	limit := time.Now().Add(b.opts.Timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(limit) {
		limit = d
	}
	se, reused, err := s.take(ctx, limit)
	if err != nil {
		return v, false, err
	}
	v, err = f(se)
	doubtful = se.asked
	retry := reused && !se.heard && lost(se.err) && ctx.Err() == nil
	s.put(se)
	if !retry {
		return v, doubtful, err
	}
	if se, err = s.dial(ctx, limit); err != nil {
		return v, doubtful, err
	}
	v, err = f(se)
	doubtful = doubtful && err != nil || se.asked
	s.put(se)
	return v, doubtful, err
}

// why replaces what gomemcache says of a failure, which can repeat what the
// server sent, by what the connection knows of it.
func (se *session) why(err error) error {
	switch {
	case err == nil:
		return nil
	case se.answer.refused != nil:
		return se.answer.refused
	case se.err != nil:
		return se.err
	}
	for _, known := range []error{memcache.ErrCacheMiss, memcache.ErrNotStored, memcache.ErrCASConflict} {
		if errors.Is(err, known) {
			return known
		}
	}
	return errReply
}

// get reads one item with its CAS number.
func (se *session) get(key string, limit int) (*memcache.Item, error) {
	se.expect(oneValue, limit)
	it, err := se.client.Get(key)
	if err != nil {
		return nil, se.why(err)
	}
	if it.Key != key {
		se.spoilt = true
		return nil, errReply
	}
	return it, nil
}

// store runs one of gomemcache's commands that are answered by one line.
func (se *session) store(command func() error) error {
	se.expect(line, 0)
	return se.why(command())
}
