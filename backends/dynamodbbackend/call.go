package dynamodbbackend

import (
	"context"

	"github.com/cachekit-io/cachekit-go/backends"
)

// do runs f within ctx and the backend's own limit. f passes its context and
// guarded to every call of the client, which then returns when the context ends
// and holds nothing of the caller's.
func do[T any](ctx context.Context, b *Backend, op string, f func(context.Context) (T, error)) (T, error) {
	var zero T
	if b.closed.Load() {
		return zero, backends.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return zero, err
	}
	limited, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	v, err := f(limited)
	if b.closed.Load() && b.release != nil {
		b.release() // the connection of a call that Close found under way
	}
	if err != nil {
		return zero, fail(ctx, op, err)
	}
	return v, nil
}
