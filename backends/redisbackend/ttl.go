package redisbackend

import (
	"context"
	"math"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
)

// Answers of PTTL that are no time (Redis command reference, PTTL).
const (
	pttlNoKey    = -2
	pttlNoExpiry = -1
)

// TTL implements [backends.TTLer].
func (b *Backend) TTL(ctx context.Context, key string) (time.Duration, error) {
	if err := backends.CheckKey(key); err != nil {
		return 0, err
	}
	return do(ctx, b, "ttl", func(ctx context.Context) (time.Duration, error) {
		ms, err := b.integer(ctx, key, "pttl", key)
		if err != nil {
			return 0, err
		}
		return remaining(ms)
	})
}

// remaining reads an answer of PTTL. Redis rounds to whole milliseconds, so 0 is
// an entry that still lives.
func remaining(ms int64) (time.Duration, error) {
	const longest = math.MaxInt64 / int64(time.Millisecond)
	switch {
	case ms == pttlNoExpiry:
		return backends.NoExpiry, nil
	case ms < 0:
		return 0, backends.ErrNotFound
	case ms == 0:
		return time.Millisecond, nil
	case ms > longest:
		return backends.NoExpiry - 1, nil
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// Touch implements [backends.TTLer] with PEXPIRE, or PERSIST and EXISTS.
func (b *Backend) Touch(ctx context.Context, key string, ttl time.Duration) (bool, error) {
	if ttl <= 0 {
		return false, backends.ErrTTL
	}
	if err := backends.CheckKey(key); err != nil {
		return false, err
	}
	if ttl != backends.NoExpiry {
		return b.change(ctx, "touch", key, "pexpire", key, milliseconds(ttl))
	}
	return write(ctx, b, "touch", []string{key}, func(ctx context.Context) (bool, error) {
		// PERSIST answers 0 for a missing key and for one without expiry.
		exists := redis.NewIntCmd(ctx, "exists", key)
		err := b.pipeline(ctx, []redis.Cmder{redis.NewIntCmd(ctx, "persist", key), exists})
		return exists.Val() > 0, err
	})
}

// GetEntry implements [backends.EntryReader] with GET and PTTL in one round
// trip. Redis does not run the two as one: if the entry is replaced in between,
// the TTL is that of the new one; if it expires in between, it is a miss.
func (b *Backend) GetEntry(ctx context.Context, key string) (e backends.Entry, err error) {
	if err := backends.CheckKey(key); err != nil {
		return backends.Entry{}, err
	}
	together := b.reads.enter()
	defer func() { b.reads.leave(len(e.Value)) }()
	if together {
		if e, done, err := b.together(ctx, "get entry", key, true); done {
			return e, err
		}
	}
	if e, done, err := b.entryDirectly(ctx, key); done {
		return e, b.fail(ctx, "get entry", err)
	}
	return do(ctx, b, "get entry", func(ctx context.Context) (backends.Entry, error) {
		r, pttl := newReply(b.limit, -1), redis.NewIntCmd(ctx, "pttl", key)
		get := redis.NewRawWriteToCmd(ctx, r, "get", key)
		err := b.pipeline(ctx, []redis.Cmder{get, pttl})
		if get.Err() != nil {
			return backends.Entry{}, get.Err()
		}
		v, rerr := r.result()
		if b.cluster && (redirected(rerr) || redirected(err)) {
			return b.entryByRedirect(ctx, key)
		}
		return entry(v, rerr, pttl)
	})
}

func (b *Backend) entryByRedirect(ctx context.Context, key string) (backends.Entry, error) {
	v, err := b.client.Get(ctx, key).Bytes()
	pttl := redis.NewIntCmd(ctx, "pttl", key)
	if err == nil {
		_ = b.process(ctx, pttl)
	}
	return entry(v, err, pttl)
}

func entry(v []byte, err error, pttl *redis.IntCmd) (backends.Entry, error) {
	if err != nil {
		return backends.Entry{}, err
	}
	if err := pttl.Err(); err != nil {
		return backends.Entry{}, err
	}
	left, err := remaining(pttl.Val())
	if err != nil {
		return backends.Entry{}, err
	}
	return backends.Entry{Value: v, TTL: left}, nil
}
