package redisbackend

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

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
	expiry := int64(0)
	if ttl != backends.NoExpiry {
		expiry = milliseconds(ttl)
	}
	old, new = b.hold(ctx, old), b.hold(ctx, new)
	return write(ctx, b, "replace", []string{key}, func(ctx context.Context) (bool, error) {
		return b.script(ctx, replace, key, old, new, expiry)
	})
}

// SwapMany implements [backends.BatchSwapper] with one pipeline for each node.
func (b *Backend) SwapMany(ctx context.Context, items []backends.SwapItem) []backends.SwapResult {
	results := make([]backends.SwapResult, len(items))
	valid := check(items, func(it backends.SwapItem) error { return b.checkItem("swap many", it.Key, it.New, backends.NoExpiry) },
		func(i int, err error) { results[i].Err = err })
	b.swapMany(ctx, items, valid, results, "evalsha", swap.hash)
	// A server that does not know the script yet has run none of it.
	unknown := slices.DeleteFunc(valid, func(i int) bool {
		var refused *ServerError
		return !errors.As(results[i].Err, &refused) || refused.Code != "NOSCRIPT"
	})
	if len(unknown) > 0 {
		b.swapMany(ctx, items, unknown, results, "eval", swap.text)
	}
	return results
}

func (b *Backend) swapMany(ctx context.Context, items []backends.SwapItem, valid []int, results []backends.SwapResult, command, script string) {
	b.writeMany(ctx, "swap many", valid, func(i int) string { return items[i].Key }, func(ctx context.Context, i int) redis.Cmder {
		it := items[i]
		return redis.NewCmd(ctx, command, script, 1, it.Key, b.hold(ctx, it.Old), b.hold(ctx, it.New))
	}, func(i int, cmd redis.Cmder, err error) {
		results[i] = backends.SwapResult{Err: err}
		if c, ok := cmd.(*redis.Cmd); ok && err == nil {
			n, err := c.Int64()
			results[i].Swapped, results[i].Err = n > 0, b.fail(ctx, "swap many", err)
		}
	})
}
