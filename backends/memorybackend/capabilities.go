package memorybackend

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

// defaultPage is the size of a page of Scan.
const defaultPage = 500

// KeyRules implements [backends.KeyRuler].
func (b *Backend) KeyRules() backends.KeyRules { return b.rules }

// GetMany implements [backends.Batcher].
func (b *Backend) GetMany(ctx context.Context, keys []string) []backends.GetResult {
	out := make([]backends.GetResult, len(keys))
	for i, key := range keys {
		out[i].Entry, out[i].Err = b.GetEntry(ctx, key)
	}
	return out
}

// ReadMany implements [backends.BatchReader].
func (b *Backend) ReadMany(ctx context.Context, keys []string, room func(size int) []byte) []backends.GetResult {
	out := b.GetMany(ctx, keys)
	for i := range out {
		if e := &out[i].Entry; e.Value != nil {
			v := room(len(e.Value))
			copy(v, e.Value)
			e.Value = v
		}
	}
	return out
}

// SetMany implements [backends.Batcher]. The batch is not atomic.
func (b *Backend) SetMany(ctx context.Context, items []backends.Item) []error {
	out := make([]error, len(items))
	for i, it := range items {
		out[i] = b.Set(ctx, it.Key, it.Value, it.TTL)
	}
	return out
}

// DeleteMany implements [backends.Batcher].
func (b *Backend) DeleteMany(ctx context.Context, keys []string) []backends.DeleteResult {
	out := make([]backends.DeleteResult, len(keys))
	for i, key := range keys {
		out[i].Existed, out[i].Err = b.Delete(ctx, key)
	}
	return out
}

// TTL implements [backends.TTLer].
func (b *Backend) TTL(ctx context.Context, key string) (time.Duration, error) {
	if err := b.begin(ctx, "ttl", key); err != nil {
		return 0, err
	}
	_, ttl, ok := b.storage.get(key)
	if !ok {
		return 0, backends.ErrNotFound
	}
	return ttl, nil
}

// Touch implements [backends.TTLer].
func (b *Backend) Touch(ctx context.Context, key string, ttl time.Duration) (bool, error) {
	if ttl <= 0 {
		return false, backends.ErrTTL
	}
	if err := b.begin(ctx, "touch", key); err != nil {
		return false, err
	}
	existed := b.storage.touch(key, ttl)
	b.changed(key)
	return existed, nil
}

// Lock implements [backends.Locker].
func (b *Backend) Lock(ctx context.Context, key string, lease time.Duration) (string, error) {
	if lease <= 0 {
		return "", backends.ErrTTL
	}
	if err := b.begin(ctx, "lock", key); err != nil {
		return "", err
	}
	token := b.storage.lock(key, lease)
	if token == "" {
		return "", backends.ErrLocked
	}
	return token, nil
}

// Unlock implements [backends.Locker].
func (b *Backend) Unlock(ctx context.Context, key, token string) (bool, error) {
	if err := b.begin(ctx, "unlock", key); err != nil {
		return false, err
	}
	return b.storage.unlock(key, token), nil
}

// LockMany implements [backends.BatchLocker].
func (b *Backend) LockMany(ctx context.Context, keys []string, lease time.Duration) []backends.LockResult {
	out := make([]backends.LockResult, len(keys))
	for i, key := range keys {
		out[i].Token, out[i].Err = b.Lock(ctx, key, lease)
	}
	return out
}

// UnlockMany implements [backends.BatchLocker].
func (b *Backend) UnlockMany(ctx context.Context, locks []backends.HeldLock) []backends.UnlockResult {
	out := make([]backends.UnlockResult, len(locks))
	for i, l := range locks {
		out[i].Released, out[i].Err = b.Unlock(ctx, l.Key, l.Token)
	}
	return out
}

// Scan implements [backends.Scanner], in the order of the keys. The cursor is
// the last key of the page before.
func (b *Backend) Scan(ctx context.Context, prefix, cursor string, limit int) (keys []string, next string, err error) {
	if err := b.admit(ctx, "scan"); err != nil {
		return nil, "", err
	}
	if err := b.ask(ctx, "scan", ""); err != nil {
		return nil, "", err
	}
	if limit <= 0 {
		limit = defaultPage
	}
	keys, more := b.storage.keys(prefix, cursor, limit)
	if more {
		next = keys[len(keys)-1]
	}
	return keys, next, nil
}

// Swap implements [backends.Swapper].
func (b *Backend) Swap(ctx context.Context, key string, old, new []byte) (bool, error) {
	if len(new) > b.maxValue {
		return false, failed("swap", backends.TooLarge, errTooLarge)
	}
	if err := b.begin(ctx, "swap", key); err != nil {
		return false, err
	}
	return b.replaced("swap", key, func() (bool, bool) { return b.storage.swap(key, old, new, 0) })
}

// Replace implements [backends.Replacer].
func (b *Backend) Replace(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	if ttl <= 0 {
		return false, backends.ErrTTL
	}
	if len(new) > b.maxValue {
		return false, failed("replace", backends.TooLarge, errTooLarge)
	}
	if err := b.begin(ctx, "replace", key); err != nil {
		return false, err
	}
	return b.replaced("replace", key, func() (bool, bool) { return b.storage.swap(key, old, new, ttl) })
}

func (b *Backend) replaced(op, key string, swap func() (swapped, fits bool)) (bool, error) {
	swapped, fits := swap()
	if !fits {
		return false, failed(op, backends.Overload, errFull)
	}
	if swapped {
		b.changed(key)
	}
	return swapped, nil
}

// SwapMany implements [backends.BatchSwapper].
func (b *Backend) SwapMany(ctx context.Context, items []backends.SwapItem) []backends.SwapResult {
	out := make([]backends.SwapResult, len(items))
	for i, it := range items {
		out[i].Swapped, out[i].Err = b.Swap(ctx, it.Key, it.Old, it.New)
	}
	return out
}

// RewriteMany implements [backends.Rewriter].
func (b *Backend) RewriteMany(ctx context.Context, keys []string, replace func(i int, value []byte) []byte, stored func(i int, value []byte)) []backends.RewriteResult {
	out := make([]backends.RewriteResult, len(keys))
	for i, key := range keys {
		r := &out[i]
		old, err := b.Get(ctx, key)
		if errors.Is(err, backends.ErrNotFound) {
			continue
		}
		if r.Found, r.Err = err == nil, err; err != nil {
			continue
		}
		if new := replace(i, bytes.Clone(old)); new != nil {
			r.Rewritten, r.Err = b.Swap(ctx, key, old, new)
		}
		if r.Rewritten && stored != nil {
			back, err := b.Get(ctx, key)
			if err == nil || errors.Is(err, backends.ErrNotFound) {
				stored(i, back)
			} else {
				r.Err = err
			}
		}
	}
	return out
}
