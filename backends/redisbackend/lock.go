package redisbackend

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/token"
)

// lockSuffix and the script are what cachekit-py and cachekit-rs use on Redis,
// so that all of them contend for the same lock.
const lockSuffix = ":lock"

// unlockScript releases a lock that is still held under the token.
const unlockScript = `if redis.call("get",KEYS[1])==ARGV[1] then return redis.call("del",KEYS[1]) end return 0`

// Lock implements [backends.Locker] with SET NX PX on key:lock. If a reply is
// lost, the attempt is repeated once, under the same token. When Lock fails for
// another reason than ErrLocked, a lock may be left that nobody holds; it ends
// with its lease.
func (b *Backend) Lock(ctx context.Context, key string, lease time.Duration) (string, error) {
	if err := checkLease(key, lease); err != nil {
		return "", err
	}
	proof := token.New()
	name := key + lockSuffix
	attempt := func(ctx context.Context) (struct{}, error) { return struct{}{}, b.lock(ctx, name, proof, lease) }
	_, err := write(ctx, b, "lock", []string{name}, attempt)
	if replyLost(err) {
		_, err = write(ctx, b, "lock", []string{name}, attempt)
	}
	if err != nil {
		return "", err
	}
	return proof, nil
}

func checkLease(key string, lease time.Duration) error {
	if err := backends.CheckKey(key); err != nil {
		return err
	}
	if lease <= 0 {
		return backends.ErrTTL
	}
	return nil
}

// replyLost reports whether an attempt that ended with err may hold the lock, and
// may be repeated.
func replyLost(err error) bool {
	var failed *backends.Error
	return errors.As(err, &failed) && failed.Kind == backends.Transient && unknownOutcome(err)
}

func lockCommand(name, token string, lease time.Duration) []any {
	args := []any{"set", name, token, "nx"}
	if lease != backends.NoExpiry {
		args = append(args, "px", milliseconds(lease))
	}
	return args
}

// lock takes the lock, or finds that an attempt whose reply was lost has it.
func (b *Backend) lock(ctx context.Context, name, token string, lease time.Duration) error {
	args := lockCommand(name, token, lease)
	_, done, err := b.numberDirectly(ctx, name, args)
	if !done {
		err = b.process(ctx, redis.NewStatusCmd(ctx, args...))
	}
	if !errors.Is(err, redis.Nil) {
		return err
	}
	owner, done, err := b.getDirectly(ctx, name)
	if !done {
		owner, err = b.getPooled(ctx, name)
	}
	switch {
	case err == nil && string(owner) == token:
		return nil
	case err == nil || errors.Is(err, redis.Nil):
		return backends.ErrLocked
	}
	return err
}

// Unlock implements [backends.Locker].
func (b *Backend) Unlock(ctx context.Context, key, token string) (bool, error) {
	if err := backends.CheckKey(key); err != nil {
		return false, err
	}
	name := key + lockSuffix
	return write(ctx, b, "unlock", []string{name}, func(ctx context.Context) (bool, error) {
		return b.script(ctx, unlock, name, token)
	})
}

var unlock = newScript(unlockScript)
