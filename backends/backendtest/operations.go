package backendtest

import (
	"context"
	"errors"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

// operation is one method of a backend or of a capability, made uniform.
type operation struct {
	name string
	// keyed operations take a key, which the backend has to check.
	keyed bool
	call  func(ctx context.Context, key string) error
}

var errResults = errors.New("backendtest: a batch did not return one result for each key")

// operations lists every method of b that does I/O. Each is called on key; its
// error is that of the call, or of the keys of a batch if all have one.
func operations(b backends.Backend) []operation {
	const ttl = time.Hour
	value := payload("operation", 100)
	ops := []operation{
		{"Get", true, func(ctx context.Context, key string) error { _, err := b.Get(ctx, key); return err }},
		{"Set", true, func(ctx context.Context, key string) error { return b.Set(ctx, key, value, ttl) }},
		{"Delete", true, func(ctx context.Context, key string) error { _, err := b.Delete(ctx, key); return err }},
		{"Exists", true, func(ctx context.Context, key string) error { _, err := b.Exists(ctx, key); return err }},
		{"Health", false, func(ctx context.Context, _ string) error { return b.Health(ctx).Err }},
	}
	caps := backends.CapabilitiesOf(b)
	if c := caps.Batcher; c != nil {
		ops = append(ops,
			operation{"GetMany", true, func(ctx context.Context, key string) error {
				return all(c.GetMany(ctx, []string{key, key}), func(r backends.GetResult) error { return r.Err })
			}},
			operation{"SetMany", true, func(ctx context.Context, key string) error {
				item := backends.Item{Key: key, Value: value, TTL: ttl}
				return all(c.SetMany(ctx, []backends.Item{item, item}), func(err error) error { return err })
			}},
			operation{"DeleteMany", true, func(ctx context.Context, key string) error {
				return all(c.DeleteMany(ctx, []string{key, key}), func(r backends.DeleteResult) error { return r.Err })
			}})
	}
	if c := caps.BatchReader; c != nil {
		ops = append(ops, operation{"ReadMany", true, func(ctx context.Context, key string) error {
			given := make([]byte, 0, 2048)
			results := c.ReadMany(ctx, []string{key, key}, func(size int) []byte {
				given = append(given, make([]byte, size)...)
				return given[len(given)-size:]
			})
			clear(given) // the caller may do so at once
			return all(results, func(r backends.GetResult) error { return r.Err })
		}})
	}
	if c := caps.EntryReader; c != nil {
		ops = append(ops, operation{"GetEntry", true, func(ctx context.Context, key string) error { _, err := c.GetEntry(ctx, key); return err }})
	}
	if c := caps.TTLer; c != nil {
		ops = append(ops,
			operation{"TTL", true, func(ctx context.Context, key string) error { _, err := c.TTL(ctx, key); return err }},
			operation{"Touch", true, func(ctx context.Context, key string) error { _, err := c.Touch(ctx, key, ttl); return err }})
	}
	if c := caps.Locker; c != nil {
		ops = append(ops,
			operation{"Lock", true, func(ctx context.Context, key string) error { _, err := c.Lock(ctx, key, ttl); return err }},
			operation{"Unlock", true, func(ctx context.Context, key string) error {
				_, err := c.Unlock(ctx, key, "00000000000000000000000000000000")
				return err
			}})
	}
	if c := caps.BatchLocker; c != nil {
		ops = append(ops,
			operation{"LockMany", true, func(ctx context.Context, key string) error {
				return all(c.LockMany(ctx, []string{key, key}, ttl), func(r backends.LockResult) error { return r.Err })
			}},
			operation{"UnlockMany", true, func(ctx context.Context, key string) error {
				lock := backends.HeldLock{Key: key, Token: "00000000000000000000000000000000"}
				return all(c.UnlockMany(ctx, []backends.HeldLock{lock, lock}), func(r backends.UnlockResult) error { return r.Err })
			}})
	}
	if c := caps.Scanner; c != nil {
		ops = append(ops, operation{"Scan", false, func(ctx context.Context, _ string) error { _, _, err := c.Scan(ctx, "", "", 0); return err }})
	}
	if c := caps.Swapper; c != nil {
		ops = append(ops, operation{"Swap", true, func(ctx context.Context, key string) error {
			_, err := c.Swap(ctx, key, value, payload("swapped", 100))
			return err
		}})
	}
	if c := caps.Replacer; c != nil {
		ops = append(ops, operation{"Replace", true, func(ctx context.Context, key string) error {
			_, err := c.Replace(ctx, key, value, payload("replaced", 100), ttl)
			return err
		}})
	}
	return ops
}

// all returns nil if one of two results is no error, or else the first error.
func all[T any](results []T, errOf func(T) error) error {
	if len(results) != 2 {
		return errResults
	}
	for _, r := range results {
		if errOf(r) == nil {
			return nil
		}
	}
	return errOf(results[0])
}
