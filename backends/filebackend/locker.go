package filebackend

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

// A lock is a file ".lock-<entry name>" with its deadline (u64 big-endian, Unix
// nanoseconds) and its token. The sister SDKs have no locks in directories and
// do not see it.
const (
	tokenBytes = 16
	lockBytes  = 8 + tokenBytes
	maxLease   = 100 * 365 * 24 * time.Hour
)

// Lock takes the lock of key for lease, by the wall clock of the machine.
func (b *Backend) Lock(ctx context.Context, key string, lease time.Duration) (string, error) {
	if lease <= 0 {
		return "", backends.ErrTTL
	}
	return call(ctx, b, "lock", key, func(a *attempt, name string) (string, error) {
		if err := b.lock(ctx, name); err != nil {
			return "", err
		}
		defer b.unlock(name)
		switch _, held, err := b.readLock(name); {
		case err != nil:
			return "", err
		case held:
			return "", backends.ErrLocked
		}
		content := make([]byte, lockBytes)
		rand.Read(content[8:])
		binary.BigEndian.PutUint64(content, uint64(time.Now().Add(min(lease, maxLease)).UnixNano()))
		temp := b.tempName(name)
		if err := b.create(a, temp, nil, content, false); err != nil {
			return "", err
		}
		if err := b.publishLock(a, temp, name); err != nil {
			_ = b.dir.remove(temp)
			return "", err
		}
		return hex.EncodeToString(content[8:]), nil
	})
}

func (b *Backend) publishLock(a *attempt, temp, name string) error {
	if !a.proceed() {
		return errAbandoned
	}
	return b.dir.rename(temp, lockPrefix+name)
}

// readLock returns the token of the lock of an entry and whether it is held.
func (b *Backend) readLock(name string) (token []byte, held bool, err error) {
	f, err := b.dir.open(lockPrefix+name, false)
	if err == errForeign {
		return nil, false, err
	}
	if err != nil {
		return nil, false, missIsFalse(missing(err))
	}
	defer f.close()
	raw := make([]byte, lockBytes)
	n, err := f.readAt(raw)
	if err != nil || n < len(raw) {
		return nil, false, err
	}
	deadline := time.Unix(0, int64(binary.BigEndian.Uint64(raw)))
	return raw[8:], time.Now().Before(deadline), nil
}

// Unlock releases the lock of key if it is still held under token.
func (b *Backend) Unlock(ctx context.Context, key, token string) (bool, error) {
	mine, err := hex.DecodeString(token)
	if err != nil {
		mine = nil // no lock has this token
	}
	return call(ctx, b, "unlock", key, func(a *attempt, name string) (bool, error) {
		if err := b.lock(ctx, name); err != nil {
			return false, err
		}
		defer b.unlock(name)
		theirs, held, err := b.readLock(name)
		if err != nil || !held || subtle.ConstantTimeCompare(mine, theirs) == 0 {
			return false, err
		}
		if !a.proceed() {
			return false, errAbandoned
		}
		err = b.dir.remove(lockPrefix + name)
		return err == nil, missIsFalse(missing(err))
	})
}
