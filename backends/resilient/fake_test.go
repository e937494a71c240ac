package resilient_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/resilient"
)

// memory is a map with every capability, which fails on demand. Tests of the
// contract itself run against real storages; this one shows what the wrapper
// sends.
type memory struct {
	mu     sync.Mutex
	values map[string][]byte
	locks  map[string]string
	calls  []string // "op key", one for each key of a batch
	closed bool

	// fail, if not nil, is asked before each operation on a key. An error that
	// is done takes effect nevertheless, as when the reply is lost.
	fail func(ctx context.Context, op, key string) error
}

// done is a failure after the operation took effect.
type done struct{ error }

func newMemory() *memory { return &memory{values: map[string][]byte{}, locks: map[string]string{}} }

// do runs f unless the script says otherwise.
func (m *memory) do(ctx context.Context, op, key string, f func() error) error {
	m.mu.Lock()
	m.calls = append(m.calls, op+" "+key)
	fail, closed := m.fail, m.closed
	m.mu.Unlock()
	switch {
	case closed:
		return backends.ErrClosed
	case ctx.Err() != nil:
		return ctx.Err()
	}
	var err error
	if fail != nil {
		err = fail(ctx, op, key)
	}
	lost, isLost := err.(done)
	if err != nil && !isLost {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if ferr := f(); !isLost {
		return ferr
	}
	return lost.error
}

func (m *memory) Get(ctx context.Context, key string) (v []byte, err error) {
	err = m.do(ctx, "get", key, func() error {
		stored, ok := m.values[key]
		if v = bytes.Clone(stored); !ok {
			return backends.ErrNotFound
		}
		return nil
	})
	return v, err
}

func (m *memory) GetEntry(ctx context.Context, key string) (backends.Entry, error) {
	v, err := m.Get(ctx, key)
	return backends.Entry{Value: v}, err
}

func (m *memory) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if ttl <= 0 {
		return backends.ErrTTL
	}
	return m.do(ctx, "set", key, func() error { m.values[key] = bytes.Clone(value); return nil })
}

func (m *memory) Delete(ctx context.Context, key string) (ok bool, err error) {
	err = m.do(ctx, "delete", key, func() error { _, ok = m.values[key]; delete(m.values, key); return nil })
	return ok && err == nil, err
}

func (m *memory) Exists(ctx context.Context, key string) (ok bool, err error) {
	err = m.do(ctx, "exists", key, func() error { _, ok = m.values[key]; return nil })
	return ok, err
}

func (m *memory) Health(ctx context.Context) backends.Health {
	err := m.do(ctx, "health", "", func() error { return nil })
	return backends.Health{OK: err == nil, Err: err, Latency: 1, BackendType: "memory"}
}

func (m *memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

func (m *memory) GetMany(ctx context.Context, keys []string) []backends.GetResult {
	out := make([]backends.GetResult, len(keys))
	for i, key := range keys {
		out[i].Entry.Value, out[i].Err = m.Get(ctx, key)
	}
	return out
}

func (m *memory) ReadMany(ctx context.Context, keys []string, room func(int) []byte) []backends.GetResult {
	out := m.GetMany(ctx, keys)
	for i := range out {
		v := &out[i].Entry.Value
		*v = append(room(len(*v))[:0], *v...)
	}
	return out
}

func (m *memory) SetMany(ctx context.Context, items []backends.Item) []error {
	out := make([]error, len(items))
	for i, it := range items {
		out[i] = m.Set(ctx, it.Key, it.Value, it.TTL)
	}
	return out
}

func (m *memory) DeleteMany(ctx context.Context, keys []string) []backends.DeleteResult {
	out := make([]backends.DeleteResult, len(keys))
	for i, key := range keys {
		out[i].Existed, out[i].Err = m.Delete(ctx, key)
	}
	return out
}

func (m *memory) TTL(ctx context.Context, key string) (time.Duration, error) {
	return backends.NoExpiry, m.do(ctx, "ttl", key, func() error { return nil })
}

func (m *memory) Touch(ctx context.Context, key string, ttl time.Duration) (ok bool, err error) {
	err = m.do(ctx, "touch", key, func() error { _, ok = m.values[key]; return nil })
	return ok, err
}

func (m *memory) Lock(ctx context.Context, key string, lease time.Duration) (token string, err error) {
	err = m.do(ctx, "lock", key, func() error {
		if m.locks[key] != "" {
			return backends.ErrLocked
		}
		token = strings.Repeat("t", 32)
		m.locks[key] = token
		return nil
	})
	return token, err
}

func (m *memory) Unlock(ctx context.Context, key, token string) (ok bool, err error) {
	err = m.do(ctx, "unlock", key, func() error {
		if ok = m.locks[key] == token; ok {
			delete(m.locks, key)
		}
		return nil
	})
	return ok, err
}

func (m *memory) LockMany(ctx context.Context, keys []string, lease time.Duration) []backends.LockResult {
	out := make([]backends.LockResult, len(keys))
	for i, key := range keys {
		out[i].Token, out[i].Err = m.Lock(ctx, key, lease)
	}
	return out
}

func (m *memory) UnlockMany(ctx context.Context, locks []backends.HeldLock) []backends.UnlockResult {
	out := make([]backends.UnlockResult, len(locks))
	for i, l := range locks {
		out[i].Released, out[i].Err = m.Unlock(ctx, l.Key, l.Token)
	}
	return out
}

func (m *memory) Scan(ctx context.Context, prefix, cursor string, limit int) (keys []string, next string, err error) {
	err = m.do(ctx, "scan", prefix+cursor, func() error {
		keys, next = []string{prefix + "1", prefix + "2"}, cursor+"x"
		return nil
	})
	return keys, next, err
}

func (m *memory) Swap(ctx context.Context, key string, old, new []byte) (ok bool, err error) {
	err = m.do(ctx, "swap", key, func() error {
		if ok = bytes.Equal(m.values[key], old); ok {
			m.values[key] = bytes.Clone(new)
		}
		return nil
	})
	return ok && err == nil, err
}

func (m *memory) Replace(ctx context.Context, key string, old, new []byte, _ time.Duration) (bool, error) {
	return m.Swap(ctx, key, old, new)
}

func (m *memory) SwapMany(ctx context.Context, items []backends.SwapItem) []backends.SwapResult {
	out := make([]backends.SwapResult, len(items))
	for i, it := range items {
		out[i].Swapped, out[i].Err = m.Swap(ctx, it.Key, it.Old, it.New)
	}
	return out
}

func (m *memory) RewriteMany(ctx context.Context, keys []string, replace func(int, []byte) []byte, _ func(int, []byte)) []backends.RewriteResult {
	out := make([]backends.RewriteResult, len(keys))
	for i, key := range keys {
		out[i].Rewritten, out[i].Err = m.Swap(ctx, key, nil, replace(i, nil))
	}
	return out
}

func (m *memory) Meter(func() backends.Counters) (stop func()) { return func() {} }

func (m *memory) KeyRules() backends.KeyRules { return backends.KeyRules{MaxBytes: 77} }

// sent returns how often op was sent for key.
func (m *memory) sent(op, key string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.calls {
		if c == op+" "+key {
			n++
		}
	}
	return n
}

// value returns what is stored under key.
func (m *memory) value(key string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return string(m.values[key])
}

func failure(kind backends.Kind) error {
	return &backends.Error{Op: "any", Backend: "memory", Kind: kind, Err: errors.New("as scripted")}
}

// failTimes fails the first n attempts of anything.
func failTimes(n int, err error) func(context.Context, string, string) error {
	var mu sync.Mutex
	return func(context.Context, string, string) error {
		mu.Lock()
		defer mu.Unlock()
		if n--; n >= 0 {
			return err
		}
		return nil
	}
}

func wrap(t testing.TB, inner backends.Backend, opts *resilient.Options) *resilient.Backend {
	t.Helper()
	b, err := resilient.New(inner, opts)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// kindOf returns the kind of a *backends.Error, 0 of anything else.
func kindOf(err error) backends.Kind {
	if e, ok := errors.AsType[*backends.Error](err); ok {
		return e.Kind
	}
	return 0
}

func (*memory) Watch(string, backends.WatchHandler) (func(), error) { return func() {}, nil }
