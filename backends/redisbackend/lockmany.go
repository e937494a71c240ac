package redisbackend

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/token"
)

// LockMany implements [backends.BatchLocker] with one pipeline of SET NX PX for each
// node. Locks whose replies were lost are tried once more, together, each under its
// token; the rest of what Lock says holds for each.
func (b *Backend) LockMany(ctx context.Context, keys []string, lease time.Duration) []backends.LockResult {
	results := make([]backends.LockResult, len(keys))
	valid := check(keys, func(key string) error { return checkLease(key, lease) }, func(i int, err error) { results[i].Err = err })
	names, tokens := make([]string, len(keys)), make([]string, len(keys))
	for _, i := range valid {
		names[i], tokens[i] = keys[i]+lockSuffix, token.New()
	}
	name := func(i int) string { return names[i] }
	report := func(i int, ok bool, err error) {
		switch {
		case ok:
			results[i] = backends.LockResult{Token: tokens[i]}
		case err == nil, errors.Is(err, backends.ErrNotFound):
			results[i].Err = backends.ErrLocked
		default:
			results[i].Err = err
		}
	}
	b.writeMany(ctx, "lock many", valid, changes{
		key:  name,
		send: func(x *wire, i int) { x.any(lockCommand(names[i], tokens[i], lease)) },
		command: func(ctx context.Context, i int) redis.Cmder {
			return redis.NewStatusCmd(ctx, lockCommand(names[i], tokens[i], lease)...)
		},
		report: func(i int, _ int64, err error) { report(i, err == nil, err) },
	})
	lost := slices.DeleteFunc(valid, func(i int) bool { return !replyLost(results[i].Err) })
	b.scriptMany(ctx, "lock many", relock, lost, runs{
		key:    name,
		args:   func(i int) []any { return []any{tokens[i], expiry(lease)} },
		report: report,
	})
	return results
}

// relock takes a lock for ARGV[2] milliseconds, 0 for no end, or finds that an
// attempt whose reply was lost has it.
var relock = newScript(`local owner=redis.call("get",KEYS[1]) if owner then return owner==ARGV[1] and 1 or 0 end
if ARGV[2]=="0" then redis.call("set",KEYS[1],ARGV[1]) else redis.call("set",KEYS[1],ARGV[1],"PX",ARGV[2]) end return 1`)

// UnlockMany implements [backends.BatchLocker] with one pipeline for each node.
func (b *Backend) UnlockMany(ctx context.Context, locks []backends.HeldLock) []backends.UnlockResult {
	results := make([]backends.UnlockResult, len(locks))
	valid := check(locks, func(l backends.HeldLock) error { return backends.CheckKey(l.Key) }, func(i int, err error) { results[i].Err = err })
	b.scriptMany(ctx, "unlock many", unlock, valid, runs{
		key:    func(i int) string { return locks[i].Key + lockSuffix },
		args:   func(i int) []any { return []any{locks[i].Token} },
		report: func(i int, ok bool, err error) { results[i] = backends.UnlockResult{Released: ok, Err: err} },
	})
	return results
}
