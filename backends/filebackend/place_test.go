package filebackend_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/filebackend"
)

// places counts the system calls in the goroutines of their callers and in
// others.
type places struct{ here, elsewhere atomic.Int64 }

func (p *places) gate() error {
	if bytes.Contains(debug.Stack(), []byte("filebackend.(*Backend).serve(")) {
		p.elsewhere.Add(1)
	} else {
		p.here.Add(1)
	}
	return nil
}

// Rule: on a file system in memory, calls under a context that can end run in
// place, but for those whose work takes long or leads to other file systems. On
// any other, all are handed over.
func TestInPlace(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	defer cancel()
	small, large := []byte("small"), make([]byte, filebackend.InPlaceBytes+1)
	background := context.Background()
	for name, c := range map[string]struct {
		old    []byte
		before func(dir string) error
		call   func(context.Context, *filebackend.Backend) error
		long   bool
	}{
		"Set": {call: func(ctx context.Context, b *filebackend.Backend) error { return b.Set(ctx, "key", small, time.Hour) }},
		"Set of most": {call: func(ctx context.Context, b *filebackend.Backend) error {
			return b.Set(ctx, "key", large[1:], time.Hour)
		}},
		"Set of more":    {call: func(ctx context.Context, b *filebackend.Backend) error { return b.Set(ctx, "key", large, time.Hour) }, long: true},
		"Set over small": {old: small, call: func(ctx context.Context, b *filebackend.Backend) error { return b.Set(ctx, "key", small, time.Hour) }},
		"Set over large": {old: large, call: func(ctx context.Context, b *filebackend.Backend) error { return b.Set(ctx, "key", small, time.Hour) }, long: true},
		"Set without a directory": {before: os.RemoveAll,
			call: func(ctx context.Context, b *filebackend.Backend) error { return b.Set(ctx, "key", small, time.Hour) }, long: true},
		"SetMany":         {call: setMany(small)},
		"SetMany of more": {call: setMany(large), long: true},
		"Get":             {old: small, call: get(small)},
		"Get of more":     {old: large, call: get(large), long: true},
		"Delete":          {old: small, call: remove},
		"Delete of more":  {old: large, call: remove, long: true},
		"Swap":            {old: small, call: swap(small, large[:9])},
		"Swap from more":  {old: large, call: swap(large, small), long: true},
		"Swap to more":    {old: small, call: swap(small, large), long: true},
		"Touch": {old: large, call: func(ctx context.Context, b *filebackend.Backend) error {
			_, err := b.Touch(ctx, "key", time.Hour)
			return err
		}},
		"Lock": {call: func(ctx context.Context, b *filebackend.Backend) error {
			_, err := b.Lock(ctx, "key", time.Hour)
			return err
		}},
		"Health": {call: func(ctx context.Context, b *filebackend.Backend) error { return b.Health(ctx).Err }},
	} {
		for memory, ctx := range map[string]context.Context{"disk": ended, "memory": ended, "no end": background} {
			dir, p := privateDir(t), new(places)
			b, err := filebackend.OpenGated(dir, &filebackend.Options{MaxBytes: -1}, p.gate)
			if err != nil {
				t.Fatal(err)
			}
			if c.old != nil {
				err = b.Set(background, "key", c.old, time.Hour)
			}
			if c.before != nil {
				err = errors.Join(err, c.before(dir))
			}
			if memory == "memory" {
				b.PretendMemory()
			}
			p.here.Store(0)
			if err := errors.Join(err, c.call(ctx, b)); err != nil {
				t.Errorf("%s, %s: %v", name, memory, err)
			}
			if want := memory == "disk" || memory == "memory" && c.long; want != (p.elsewhere.Load() > 0) {
				t.Errorf("%s, %s: handed over is %v, want %v", name, memory, !want, want)
			}
			if want := memory != "disk"; !want && p.here.Load() > 0 {
				t.Errorf("%s, %s: %d system calls in place", name, memory, p.here.Load())
			}
			b.Close()
		}
	}
}

func get(want []byte) func(context.Context, *filebackend.Backend) error {
	return func(ctx context.Context, b *filebackend.Backend) error {
		got, err := b.Get(ctx, "key")
		if err == nil && !bytes.Equal(got, want) {
			err = errors.New("another value")
		}
		return err
	}
}

func setMany(value []byte) func(context.Context, *filebackend.Backend) error {
	return func(ctx context.Context, b *filebackend.Backend) error {
		return errors.Join(append(b.SetMany(ctx, []backends.Item{{Key: "key", Value: value, TTL: time.Hour}}), get(value)(ctx, b))...)
	}
}

func remove(ctx context.Context, b *filebackend.Backend) error {
	existed, err := b.Delete(ctx, "key")
	if err == nil && !existed {
		err = errors.New("nothing was there")
	}
	return err
}

func swap(old, value []byte) func(context.Context, *filebackend.Backend) error {
	return func(ctx context.Context, b *filebackend.Backend) error {
		swapped, err := b.Swap(ctx, "key", old, value)
		if err == nil && !swapped {
			err = errors.New("nothing was swapped")
		}
		return err
	}
}

// Rule: a call in place that waits for another process ends with its context and
// leaves nothing behind.
func TestInPlaceEnds(t *testing.T) {
	dir := privateDir(t)
	b, other := openAt(t, dir, &filebackend.Options{MaxBytes: -1}), openAt(t, dir, nil)
	b.PretendMemory()
	release, err := other.HoldLock(t.Context(), "key")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	for op, call := range map[string]func(context.Context, *filebackend.Backend) error{
		"Set": setMany(nil), "Delete": remove,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := call(ctx, b); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s while another holds the lock = %v, want context.DeadlineExceeded", op, err)
		}
		cancel()
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
		t.Errorf("the directory has %d names (%v), want the lock file", len(names), err)
	}
}
