package redisbackend

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
)

// swap replaces a value that is still the old one and keeps its expiry (KEEPTTL:
// Redis 6.0).
var swap = redis.NewScript(`if redis.call("get",KEYS[1])==ARGV[1] then redis.call("set",KEYS[1],ARGV[2],"KEEPTTL") return 1 end return 0`)

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
