package filebackend

import (
	"bytes"
	"context"
	"encoding/binary"
	"time"
)

// TTL returns the time left of the entry of key.
func (b *Backend) TTL(ctx context.Context, key string) (time.Duration, error) {
	return call(ctx, b, "ttl", key, func(a *attempt, name string) (time.Duration, error) {
		h, err := b.probe(a, name)
		return h.ttl, err
	})
}

// Touch gives the entry of key a new TTL. Like the sister SDKs it rewrites the 8
// bytes of the expiry in place, in one positioned write (FILE-5), so it can
// never bring back a value that another process has just replaced; if that
// happened, the new value keeps its own TTL.
func (b *Backend) Touch(ctx context.Context, key string, ttl time.Duration) (bool, error) {
	expiry, err := expiryOf(time.Now(), ttl)
	if err != nil {
		return false, err
	}
	return call(ctx, b, "touch", key, func(a *attempt, name string) (bool, error) {
		if err := b.lock(ctx, name); err != nil {
			return false, err
		}
		defer b.unlock(name)
		f, err := b.dir.open(name, true)
		if err != nil {
			return false, missIsFalse(missing(err))
		}
		defer f.close()
		var head [headerSize]byte
		n, err := f.readAt(head[:])
		if err != nil || parseHeader(head[:n], time.Now()).state != stateLive {
			return false, err
		}
		if !a.proceed() {
			return false, errAbandoned
		}
		if err := f.writeAt(binary.BigEndian.AppendUint64(nil, expiry), expiryOffset, b.opts.Sync); err != nil {
			return false, err
		}
		return true, nil
	})
}

// Swap replaces the value of key if it is still old, and keeps its expiry to the
// second. Processes of this package are excluded meanwhile; a Set by a sister
// SDK between the comparison and the rename is overwritten.
func (b *Backend) Swap(ctx context.Context, key string, old, new []byte) (bool, error) {
	return b.exchange(ctx, "swap", key, old, new, func(kept uint64) uint64 { return kept })
}

// Replace is Swap with a new TTL.
func (b *Backend) Replace(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	expiry, err := expiryOf(time.Now(), ttl)
	if err != nil {
		return false, err
	}
	return b.exchange(ctx, "replace", key, old, new, func(uint64) uint64 { return expiry })
}

func (b *Backend) exchange(ctx context.Context, op, key string, old, new []byte, expiry func(kept uint64) uint64) (bool, error) {
	if err := b.fits(op, new); err != nil {
		return false, err
	}
	return call(ctx, b, op, key, func(a *attempt, name string) (bool, error) {
		swapped, err := b.swap(ctx, a, name, old, new, expiry)
		if swapped && b.opts.Sync {
			err = b.dir.sync()
		}
		return swapped, missIsFalse(err)
	}, &old, &new)
}

func (b *Backend) swap(ctx context.Context, a *attempt, name string, old, new []byte, expiry func(kept uint64) uint64) (bool, error) {
	if err := b.lock(ctx, name); err != nil {
		return false, err
	}
	defer b.unlock(name)
	f, err := b.open(a, name)
	if err != nil {
		return false, missing(err)
	}
	defer f.close()
	raw, h, err := b.load(&f)
	if err != nil || h.state != stateLive || !bytes.Equal(raw[headerSize:], old) {
		return false, err
	}
	temp := b.tempName(name)
	if err := b.create(a, temp, newHeader(expiry(h.expiry)), new, b.opts.Sync); err != nil {
		return false, err
	}
	if err := b.replace(a, temp, name, headerSize+int64(len(new))); err != nil {
		_ = b.dir.remove(temp)
		return false, err
	}
	return true, nil
}
