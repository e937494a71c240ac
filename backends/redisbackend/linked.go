package redisbackend

import (
	"context"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/mono"
)

// linked makes a write over the connection that reports changes, if ctx says
// whose it is (see backends.WrittenBy). There Redis can tell it from the writes of
// others and need not report it. done is false if it has to be made over the pool:
// nothing was executed then.
func (b *Backend) linked(ctx context.Context, op, key string, value []byte, ttl time.Duration) (n int64, done bool, err error) {
	if b.routes.Load() == nil || len(value) > postValue {
		return 0, false, nil
	}
	by := backends.Writer(ctx)
	if by == nil || b.closed.Load() || ctx.Err() != nil {
		return 0, false, nil
	}
	s := b.lane(ctx, key)
	if s == nil {
		return 0, false, nil
	}
	if err := b.settleOne(ctx, op, key); err != nil {
		return 0, true, err
	}
	w := linkWrites.Get().(*linkWrite)
	defer w.free()
	w.key, w.value, w.ttl, w.by = key, value, ttl, by
	if !s.post(w) {
		return 0, false, nil
	}
	sent, err := s.await(ctx, w, b.timeout)
	if elsewhere(err) {
		return 0, false, nil
	}
	if err == errLost && b.closed.Load() {
		err = backends.ErrClosed
	}
	err = b.fail(ctx, op, err)
	if sent && unknownOutcome(err) {
		b.doubts.Add(key)
	}
	return w.n, true, err
}

// elsewhere reports whether a server has refused a write because of what it is
// and not of what the write is. The pool finds the right one.
func elsewhere(err error) bool {
	r, ok := err.(refusal)
	if !ok {
		return false
	}
	switch r.code() {
	case "MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "READONLY", "LOADING", "MASTERDOWN":
		return true
	}
	return false
}

// lane returns the connection to the server of key that takes writes, or nil.
func (b *Backend) lane(ctx context.Context, key string) *session {
	routes := b.routes.Load()
	if routes == nil {
		return nil
	}
	addr := ""
	switch c := b.client.(type) {
	case *redis.ClusterClient:
		node, err := c.MasterForKey(ctx, key)
		if err != nil {
			return nil
		}
		addr = node.Options().Addr
	case *redis.Ring:
		node, err := c.GetShardClientForKey(key)
		if err != nil {
			return nil
		}
		addr = node.Options().Addr
	}
	l := (*routes)[addr]
	if l == nil {
		return nil
	}
	if rest := l.rest.Load(); rest != 0 && mono.Now() < rest {
		return nil
	}
	return l.lane.Load()
}

// wrote tells the watches of a key that a write over a link has changed it,
// which the server does not, but the one whose write it was: that one knows.
func (t *tracker) wrote(key string, by backends.WatchHandler) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.watches {
		if w.up && w.handler != by && strings.HasPrefix(key, w.prefix) {
			w.handler.Changed([]string{key})
		}
	}
}
