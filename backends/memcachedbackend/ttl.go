package memcachedbackend

import (
	"context"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

// maxSeconds is the longest time to live that memcached takes as such; a larger
// number is a Unix time, which lies in the past (doc/protocol.txt, "Expiration
// times").
const maxSeconds = 60 * 60 * 24 * 30

// seconds returns the expiration of a TTL: 0 for NoExpiry, 30 days at most.
//
// memcached counts ticks of a clock that moves once a second: n seconds end
// with the n-th tick, so they last n-1 seconds at least and n at most. A TTL is
// rounded up to a second, and one tick is added, so that no entry expires early.
func seconds(ttl time.Duration) int32 {
	if ttl == backends.NoExpiry {
		return 0
	}
	n := int64(ttl / time.Second)
	if ttl%time.Second != 0 {
		n++
	}
	return int32(min(n+1, maxSeconds))
}

// remaining is the least time that an entry with n ticks left has to live.
func remaining(n int64) time.Duration {
	switch {
	case n < 0:
		return backends.NoExpiry
	case n > int64(backends.NoExpiry/time.Second):
		return backends.NoExpiry - 1
	}
	return time.Duration(max(n-1, 1)) * time.Second
}

// TTL implements [backends.TTLer] with a meta get. memcached tells whole
// seconds, of which the last may have passed almost; TTL leaves it out, so the
// entry lives at least as long as it says, unless that is one second.
func (b *Backend) TTL(ctx context.Context, key string) (time.Duration, error) {
	if err := rules.Check(key); err != nil {
		return 0, err
	}
	return do(ctx, b, "ttl", key, func(se *session) (time.Duration, error) {
		if b.opts.ClassicProtocol {
			return 0, errNoMeta
		}
		it, err := se.meta(key, "kt", 0)
		if err != nil {
			return 0, err
		}
		return remaining(it.ttl), nil
	})
}

// Touch implements [backends.TTLer].
func (b *Backend) Touch(ctx context.Context, key string, ttl time.Duration) (bool, error) {
	if err := rules.Check(key); err != nil {
		return false, err
	}
	if ttl <= 0 {
		return false, backends.ErrTTL
	}
	return existed(write(ctx, b, "touch", key, func(se *session) (struct{}, error) {
		return struct{}{}, se.store(func() error { return se.client.Touch(key, seconds(ttl)) })
	}))
}

// GetEntry implements [backends.EntryReader] with a meta get. The TTL is that of
// TTL; under Options.ClassicProtocol it is 0, unknown.
func (b *Backend) GetEntry(ctx context.Context, key string) (backends.Entry, error) {
	if err := rules.Check(key); err != nil {
		return backends.Entry{}, err
	}
	return do(ctx, b, "get entry", key, func(se *session) (backends.Entry, error) {
		if b.opts.ClassicProtocol {
			v, err := b.get(se, key)
			return backends.Entry{Value: v}, err
		}
		it, err := se.meta(key, "ktv", b.opts.MaxValueBytes)
		if err != nil {
			return backends.Entry{}, err
		}
		if it.value == nil {
			se.spoilt = true
			return backends.Entry{}, errReply
		}
		return backends.Entry{Value: it.value, TTL: remaining(it.ttl)}, nil
	})
}
