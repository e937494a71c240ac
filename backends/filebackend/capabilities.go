package filebackend

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

// TTL returns the time left of the entry of key.
func (b *Backend) TTL(ctx context.Context, key string) (time.Duration, error) {
	return call(ctx, b, "ttl", key, func(_ *abandon, name string) (time.Duration, error) {
		h, f, err := b.peek(name)
		if err != nil {
			return 0, err
		}
		f.close()
		if h.state != stateLive {
			return 0, backends.ErrNotFound
		}
		return h.ttl(time.Now()), nil
	})
}

// Touch gives the entry of key a new TTL, by rewriting the expiry in its header
// in place, as the sister SDKs do.
func (b *Backend) Touch(ctx context.Context, key string, ttl time.Duration) (bool, error) {
	expiry, err := expiryOf(time.Now(), ttl)
	if err != nil {
		return false, err
	}
	return call(ctx, b, "touch", key, func(a *abandon, name string) (bool, error) {
		if err := b.lock(ctx, name); err != nil {
			return false, err
		}
		defer b.unlock(name)
		f, err := b.dir.open(name, true)
		if err != nil {
			return false, missIsFalse(missing(err))
		}
		defer f.close()
		var raw [headerSize]byte
		n, err := f.readAt(raw[:], 0)
		if err != nil || parseHeader(raw[:n], time.Now()).state != stateLive {
			return false, err
		}
		if !a.proceed() {
			return false, context.Canceled
		}
		if err := f.writeAt(binary.BigEndian.AppendUint64(nil, expiry), expiryOffset); err != nil {
			return false, err
		}
		// A replacement by a sister SDK meanwhile has its own expiry.
		return b.dir.names(name, f), nil
	})
}

// Swap replaces the value of key if it is still old. The expiry is kept.
func (b *Backend) Swap(ctx context.Context, key string, old, new []byte) (bool, error) {
	if int64(len(new)) > b.opts.MaxValueBytes {
		return false, &backends.Error{Op: "swap", Backend: backendType, Kind: backends.TooLarge, Err: errTooLarge}
	}
	if ctx.Done() != nil {
		old, new = bytes.Clone(old), bytes.Clone(new)
	}
	return call(ctx, b, "swap", key, func(a *abandon, name string) (bool, error) {
		temp := b.tempName(name)
		if err := b.lock(ctx, name); err != nil {
			return false, err
		}
		raw, h, err := b.readLocked(name)
		if err == nil && bytes.Equal(raw[headerSize:], old) {
			if err = b.dir.create(temp, appendHeader(nil, h.expiry), new, b.opts.Sync); err == nil {
				if err = b.commit(a, temp, name); err != nil {
					b.dir.remove(temp)
				}
			}
			b.unlock(name)
			if err == nil {
				b.grew(headerSize + int64(len(new)))
			}
			return err == nil, err
		}
		b.unlock(name)
		return false, missIsFalse(err)
	})
}

// readLocked is read without removing anything, for callers who hold the lock.
func (b *Backend) readLocked(name string) ([]byte, header, error) {
	h, f, err := b.peek(name)
	if err != nil {
		return nil, h, err
	}
	defer f.close()
	switch {
	case h.state != stateLive:
		return nil, h, backends.ErrNotFound
	case f.size > headerSize+b.opts.MaxValueBytes:
		return nil, h, errTooLarge
	}
	raw := make([]byte, f.size)
	n, err := f.readAt(raw, 0)
	return raw[:n], h, err
}

// lockPrefix begins the names of lock files. A leading dot keeps the sister SDKs
// from taking them for entries.
const lockPrefix = ".lock-"

// tokenBytes is the length of a lock token: 128 random bits.
const tokenBytes = 16

// Lock takes the lock of key for lease. It is a file with a token and a
// deadline; the deadline is to the nanosecond of the wall clock.
func (b *Backend) Lock(ctx context.Context, key string, lease time.Duration) (string, error) {
	if lease <= 0 {
		return "", backends.ErrTTL
	}
	var token [tokenBytes]byte
	rand.Read(token[:])
	return call(ctx, b, "lock", key, func(a *abandon, name string) (string, error) {
		if err := b.lock(ctx, name); err != nil {
			return "", err
		}
		defer b.unlock(name)
		_, held, err := b.readLock(name)
		if err != nil {
			return "", err
		}
		if held {
			return "", backends.ErrLocked
		}
		deadline := time.Now().Add(min(lease, 100*365*24*time.Hour)).UnixNano()
		temp := b.tempName(name)
		if err := b.dir.create(temp, binary.BigEndian.AppendUint64(nil, uint64(deadline)), token[:], false); err != nil {
			return "", err
		}
		if !a.proceed() {
			b.dir.remove(temp)
			return "", context.Canceled
		}
		if err := b.dir.rename(temp, lockPrefix+name); err != nil {
			b.dir.remove(temp)
			return "", err
		}
		return hex.EncodeToString(token[:]), nil
	})
}

// readLock returns the token of the lock of an entry and whether it is held.
func (b *Backend) readLock(name string) (token []byte, held bool, err error) {
	f, err := b.dir.open(lockPrefix+name, false)
	if err != nil {
		return nil, false, missIsFalse(missing(err))
	}
	defer f.close()
	raw := make([]byte, 8+tokenBytes)
	n, err := f.readAt(raw, 0)
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
		return false, nil
	}
	return call(ctx, b, "unlock", key, func(a *abandon, name string) (bool, error) {
		if err := b.lock(ctx, name); err != nil {
			return false, err
		}
		defer b.unlock(name)
		theirs, held, err := b.readLock(name)
		if err != nil || !held || subtle.ConstantTimeCompare(mine, theirs) == 0 || !a.proceed() {
			return false, err
		}
		return true, b.dir.remove(lockPrefix + name)
	})
}
