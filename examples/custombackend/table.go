package main

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

// Table is a backend over a map.
type Table struct {
	closed atomic.Bool
	mu     sync.Mutex
	rows   map[string]row
}

type row struct {
	value []byte
	end   time.Time
}

// NewTable returns an empty table.
func NewTable() *Table { return &Table{rows: map[string]row{}} }

// KeyRules says which keys the table cannot hold though the family allows them.
func (*Table) KeyRules() backends.KeyRules { return backends.KeyRules{MaxBytes: 250} }

// do makes the checks of every call, returns the live row of key and changes it.
func (t *Table) do(ctx context.Context, key string, change func()) (row, bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch err := t.KeyRules().Check(key); {
	case err != nil:
		return row{}, false, err
	case ctx.Err() != nil:
		return row{}, false, ctx.Err()
	case t.closed.Load():
		return row{}, false, backends.ErrClosed
	case time.Now().After(t.rows[key].end):
		delete(t.rows, key)
	}
	r, found := t.rows[key]
	change()
	return r, found, nil
}

// Get returns a copy: the caller owns it.
func (t *Table) Get(ctx context.Context, key string) ([]byte, error) {
	r, found, err := t.do(ctx, key, func() {})
	if err == nil && !found {
		return nil, backends.ErrNotFound
	}
	return bytes.Clone(r.value), err
}

// Set stores a copy: value stays the caller's. NoExpiry is 292 years here.
func (t *Table) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if ttl <= 0 {
		return backends.ErrTTL
	}
	_, _, err := t.do(ctx, key, func() { t.rows[key] = row{bytes.Clone(value), time.Now().Add(ttl)} })
	return err
}

// Delete removes the row.
func (t *Table) Delete(ctx context.Context, key string) (bool, error) {
	_, existed, err := t.do(ctx, key, func() { delete(t.rows, key) })
	return existed, err
}

// Exists looks for the row.
func (t *Table) Exists(ctx context.Context, key string) (bool, error) {
	_, found, err := t.do(ctx, key, func() {})
	return found, err
}

// Health does what every call does, on a key of its own.
func (t *Table) Health(ctx context.Context) backends.Health {
	start := time.Now()
	_, err := t.Exists(ctx, "health")
	return backends.Health{OK: err == nil, Latency: max(time.Since(start), 1), BackendType: "table", Err: err}
}

// Close refuses all calls from now on.
func (t *Table) Close() error { t.closed.Store(true); return nil }
