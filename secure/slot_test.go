package secure_test

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

// slots is a backend for benchmarks: it holds the last value of each key, in memory
// that it has already, and neither expires nor records anything, so that a call
// costs the same however many came before.
type slots struct {
	mu     sync.Mutex
	values map[string][]byte
}

// newSlots has room for values of size bytes under keys.
func newSlots(size int, keys ...string) *slots {
	s := &slots{values: map[string][]byte{}}
	for _, key := range keys {
		s.values[key] = make([]byte, 0, size)
	}
	return s
}

func (s *slots) Get(ctx context.Context, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.values[key]) == 0 {
		return nil, backends.ErrNotFound
	}
	return bytes.Clone(s.values[key]), nil
}

func (s *slots) Set(ctx context.Context, key string, value []byte, _ time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values[key] = append(s.values[key][:0], value...)
	return nil
}

func (s *slots) Delete(ctx context.Context, key string) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	existed := len(s.values[key]) > 0
	s.values[key] = s.values[key][:0]
	return existed, nil
}

func (s *slots) Exists(ctx context.Context, key string) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.values[key]) > 0, nil
}

func (s *slots) Health(ctx context.Context) backends.Health {
	err := ctx.Err()
	return backends.Health{OK: err == nil, Latency: 1, BackendType: "slots", Err: err}
}

func (s *slots) Close() error { return nil }
