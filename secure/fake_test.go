package secure_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/secure"
)

// fake is a map with the Backend contract, faults on demand and a record of
// every byte that it was given. Tests of the contract itself run against real
// storages; this one shows what a cache does to its backend.
type fake struct {
	mu     sync.Mutex
	values map[string]fakeEntry
	writes map[string][]byte // every value ever set, by key
	fault  func(op, key string) error
	closed bool
	reads  int
}

type fakeEntry struct {
	value   []byte
	expires time.Time
}

func newFake() *fake {
	return &fake{values: map[string]fakeEntry{}, writes: map[string][]byte{}}
}

func (f *fake) do(ctx context.Context, op, key string) error {
	f.mu.Lock()
	fault, closed := f.fault, f.closed
	f.mu.Unlock()
	if closed {
		return backends.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if fault != nil {
		return fault(op, key)
	}
	return nil
}

func (f *fake) setFault(fault func(op, key string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

func outage(string, string) error {
	return &backends.Error{Op: "any", Backend: "fake", Kind: backends.Transient}
}

func (f *fake) Get(ctx context.Context, key string) ([]byte, error) {
	e, err := f.GetEntry(ctx, key)
	return e.Value, err
}

func (f *fake) GetEntry(ctx context.Context, key string) (backends.Entry, error) {
	if err := f.do(ctx, "get", key); err != nil {
		return backends.Entry{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	e, ok := f.values[key]
	left := time.Until(e.expires)
	if !ok || left <= 0 {
		return backends.Entry{}, backends.ErrNotFound
	}
	return backends.Entry{Value: bytes.Clone(e.value), TTL: left}, nil
}

func (f *fake) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := f.do(ctx, "set", key); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.values[key] = fakeEntry{bytes.Clone(value), time.Now().Add(ttl)}
	f.writes[key] = append(f.writes[key], value...)
	return nil
}

func (f *fake) Delete(ctx context.Context, key string) (bool, error) {
	if err := f.do(ctx, "delete", key); err != nil {
		return false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.values[key]
	delete(f.values, key)
	return ok, nil
}

func (f *fake) Exists(ctx context.Context, key string) (bool, error) {
	if err := f.do(ctx, "exists", key); err != nil {
		return false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.values[key]
	return ok, nil
}

func (f *fake) Health(ctx context.Context) backends.Health {
	err := f.do(ctx, "health", "")
	return backends.Health{OK: err == nil, Latency: 1, BackendType: "fake", Err: err}
}

func (f *fake) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return nil
}

// raw returns what is stored under key; plant replaces it.
func (f *fake) raw(key string) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return bytes.Clone(f.values[key].value)
}

func (f *fake) plant(key string, value []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.values[key] = fakeEntry{bytes.Clone(value), time.Now().Add(time.Hour)}
}

func (f *fake) keys() (out []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k := range f.values {
		out = append(out, k)
	}
	return out
}

func (f *fake) readCount() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reads
}

func key(t testing.TB, digit string) keys.MasterKey {
	t.Helper()
	k, err := keys.Hex(strings.Repeat(digit, 64))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// logs collects what a cache logs.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logs) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// open builds a cache of the secure profile over f, every call of which is to
// show; change edits the options.
func open(t testing.TB, f *fake, change func(*secure.Options)) *secure.Cache {
	t.Helper()
	opts := &secure.Options{Backend: f, MasterKey: key(t, "1"), Logger: new(logs).logger(), Reliability: secure.Off}
	if change != nil {
		change(opts)
	}
	c, err := secure.New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

type user struct {
	Name string `json:"name"`
	Age  int    `json:"age"`
}

var alice = user{"alice", 30}
