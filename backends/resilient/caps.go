package resilient

import (
	"context"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

// Capabilities implements [backends.Wrapper]: what the inner backend can do
// beyond [backends.Backend], each wrapped. The rules of keys and the meter, which
// send nothing, and the watcher, which sees to its own connections, are the inner
// backend's own.
func (b *Backend) Capabilities() backends.Caps {
	c := backends.Caps{KeyRuler: b.caps.KeyRuler, Metered: b.caps.Metered, Watcher: b.caps.Watcher}
	if b.caps.Batcher != nil {
		c.Batcher = batcher{b}
	}
	if b.caps.BatchReader != nil {
		c.BatchReader = batchReader{b}
	}
	if b.caps.EntryReader != nil {
		c.EntryReader = entryReader{b}
	}
	if b.caps.TTLer != nil {
		c.TTLer = ttler{b}
	}
	if b.caps.Locker != nil {
		c.Locker = locker{b}
	}
	if b.caps.BatchLocker != nil {
		c.BatchLocker = batchLocker{b}
	}
	if b.caps.Scanner != nil {
		c.Scanner = scanner{b}
	}
	if b.caps.Swapper != nil {
		c.Swapper = swapper{b}
	}
	if b.caps.Replacer != nil {
		c.Replacer = replacer{b}
	}
	if b.caps.BatchSwapper != nil {
		c.BatchSwapper = batchSwapper{b}
	}
	if b.caps.Rewriter != nil {
		c.Rewriter = rewriter{b}
	}
	return c
}

type entryReader struct{ b *Backend }

func (r entryReader) GetEntry(ctx context.Context, key string) (backends.Entry, error) {
	return run(ctx, r.b, call{op: "get"}, key, func(ctx context.Context, b *Backend, key string) (backends.Entry, error) {
		return b.caps.EntryReader.GetEntry(ctx, key)
	})
}

type ttler struct{ b *Backend }

func (t ttler) TTL(ctx context.Context, key string) (time.Duration, error) {
	return run(ctx, t.b, call{op: "ttl"}, key, func(ctx context.Context, b *Backend, key string) (time.Duration, error) {
		return b.caps.TTLer.TTL(ctx, key)
	})
}

func (t ttler) Touch(ctx context.Context, key string, ttl time.Duration) (bool, error) {
	c := call{op: "touch", turn: t.b.turns.next(key)}
	return run(ctx, t.b, c, backends.Item{Key: key, TTL: ttl}, func(ctx context.Context, b *Backend, it backends.Item) (bool, error) {
		return b.caps.TTLer.Touch(ctx, it.Key, it.TTL)
	})
}

type locker struct{ b *Backend }

// Lock is sent once: another attempt would draw another token.
func (l locker) Lock(ctx context.Context, key string, lease time.Duration) (string, error) {
	c := call{op: "lock", once: true}
	return run(ctx, l.b, c, backends.Item{Key: key, TTL: lease}, func(ctx context.Context, b *Backend, it backends.Item) (string, error) {
		return b.caps.Locker.Lock(ctx, it.Key, it.TTL)
	})
}

func (l locker) Unlock(ctx context.Context, key, token string) (bool, error) {
	return run(ctx, l.b, call{op: "unlock"}, [2]string{key, token}, func(ctx context.Context, b *Backend, arg [2]string) (bool, error) {
		return b.caps.Locker.Unlock(ctx, arg[0], arg[1])
	})
}

type scanner struct{ b *Backend }

type page struct {
	prefix, cursor string
	limit          int
	keys           []string
	next           string
}

func (s scanner) Scan(ctx context.Context, prefix, cursor string, limit int) ([]string, string, error) {
	p, err := run(ctx, s.b, call{op: "scan"}, page{prefix: prefix, cursor: cursor, limit: limit}, func(ctx context.Context, b *Backend, p page) (page, error) {
		var err error
		p.keys, p.next, err = b.caps.Scanner.Scan(ctx, p.prefix, p.cursor, p.limit)
		return p, err
	})
	return p.keys, p.next, err
}

type swapper struct{ b *Backend }

type exchange struct {
	key      string
	old, new []byte
	ttl      time.Duration
}

// Swap is sent once: another attempt could not tell its own success from a
// stranger's write.
func (s swapper) Swap(ctx context.Context, key string, old, new []byte) (bool, error) {
	c := call{op: "swap", once: true, turn: s.b.turns.next(key)}
	return run(ctx, s.b, c, exchange{key: key, old: old, new: new}, func(ctx context.Context, b *Backend, x exchange) (bool, error) {
		return b.caps.Swapper.Swap(ctx, x.key, x.old, x.new)
	})
}

type replacer struct{ b *Backend }

// Replace is sent once, as Swap is.
func (r replacer) Replace(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	c := call{op: "replace", once: true, turn: r.b.turns.next(key)}
	return run(ctx, r.b, c, exchange{key, old, new, ttl}, func(ctx context.Context, b *Backend, x exchange) (bool, error) {
		return b.caps.Replacer.Replace(ctx, x.key, x.old, x.new, x.ttl)
	})
}
