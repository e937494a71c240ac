package redisbackend

import (
	"context"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

// swap replaces a value that is still the old one and keeps its expiry (KEEPTTL:
// Redis 6.0).
var swap = newScript(`if redis.call("get",KEYS[1])==ARGV[1] then redis.call("set",KEYS[1],ARGV[2],"KEEPTTL") return 1 end return 0`)

// Swap implements [backends.Swapper] with a script that Redis runs as one.
func (b *Backend) Swap(ctx context.Context, key string, old, new []byte) (bool, error) {
	if err := b.checkItem("swap", key, new, backends.NoExpiry); err != nil {
		return false, err
	}
	old, new = b.hold(ctx, old), b.hold(ctx, new)
	return write(ctx, b, "swap", []string{key}, func(ctx context.Context) (bool, error) {
		return b.script(ctx, swap, key, old, new)
	})
}

// replace is swap with a new expiry, ARGV[3] in milliseconds, 0 for none.
var replace = newScript(`if redis.call("get",KEYS[1])~=ARGV[1] then return 0 end
if ARGV[3]=="0" then redis.call("set",KEYS[1],ARGV[2]) else redis.call("set",KEYS[1],ARGV[2],"PX",ARGV[3]) end return 1`)

// Replace implements [backends.Replacer] with a script that Redis runs as one.
func (b *Backend) Replace(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	if err := b.checkItem("replace", key, new, ttl); err != nil {
		return false, err
	}
	old, new = b.hold(ctx, old), b.hold(ctx, new)
	return write(ctx, b, "replace", []string{key}, func(ctx context.Context) (bool, error) {
		return b.script(ctx, replace, key, old, new, expiry(ttl))
	})
}

// expiry is ttl as a script takes it: in milliseconds, 0 for none.
func expiry(ttl time.Duration) int64 {
	if ttl == backends.NoExpiry {
		return 0
	}
	return milliseconds(ttl)
}
