package filebackend_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/filebackend"
	"github.com/cachekit-io/cachekit-go/internal/beside"
)

// The pair of each benchmark does the same work with the standard library: a
// file read whole, and a temporary file renamed into place.
const benchKeys = 512

func benchKey(i int) string { return fmt.Sprintf("bench:key:%d", i%benchKeys) }

func endless(b *testing.B) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	b.Cleanup(cancel)
	return ctx
}

func BenchmarkGet(b *testing.B) {
	value := make([]byte, 1024)
	b.Run("os.ReadFile", func(b *testing.B) {
		dir := b.TempDir()
		names := make([]string, benchKeys)
		for i := range names {
			names[i] = filepath.Join(dir, filebackend.FileName(benchKey(i)))
			if err := os.WriteFile(names[i], make([]byte, 1038), 0o600); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := os.ReadFile(names[i%benchKeys]); err != nil {
				b.Fatal(err)
			}
		}
	})
	get := func(ctx func(*testing.B) context.Context) func(b *testing.B) {
		return func(b *testing.B) {
			s := openNew(b, nil)
			keys := make([]string, benchKeys)
			for i := range keys {
				keys[i] = benchKey(i)
				if err := s.Set(context.Background(), keys[i], value, time.Hour); err != nil {
					b.Fatal(err)
				}
			}
			ctx := ctx(b)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := s.Get(ctx, keys[i%benchKeys]); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	b.Run("Get", get(func(*testing.B) context.Context { return context.Background() }))
	b.Run("Get with cancel", get(endless))
}

func BenchmarkSet(b *testing.B) {
	value := make([]byte, 1024)
	b.Run("os temp+rename", func(b *testing.B) {
		dir := b.TempDir()
		content := make([]byte, 1038)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			name := filepath.Join(dir, filebackend.FileName(benchKey(i)))
			if err := os.WriteFile(name+".tmp", content, 0o600); err != nil {
				b.Fatal(err)
			}
			if err := os.Rename(name+".tmp", name); err != nil {
				b.Fatal(err)
			}
		}
	})
	set := func(opts *filebackend.Options, ctx func(*testing.B) context.Context) func(b *testing.B) {
		return func(b *testing.B) {
			s := openNew(b, opts)
			c := ctx(b)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := s.Set(c, benchKey(i), value, time.Hour); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	background := func(*testing.B) context.Context { return context.Background() }
	b.Run("Set", set(nil, background))
	b.Run("Set with cancel", set(nil, endless))
	b.Run("Set with Sync", set(&filebackend.Options{Sync: true}, background))
}

// BenchmarkBeside compares with the same work of the standard library, under a
// context with a deadline: on a disk ours hands each call over to another
// goroutine, on tmpfs (TMPDIR=/dev/shm) it does not.
func BenchmarkBeside(b *testing.B) {
	ctx, cancel := context.WithTimeout(context.Background(), 24*time.Hour)
	defer cancel()
	table(ctx, b, openNew)
}

// BenchmarkNoDeadline is BenchmarkBeside under a context that cannot end.
func BenchmarkNoDeadline(b *testing.B) { table(context.Background(), b, openNew) }

// BenchmarkHandedOver is BenchmarkBeside with all calls handed over.
func BenchmarkHandedOver(b *testing.B) {
	table(endless(b), b, func(tb testing.TB, opts *filebackend.Options) *filebackend.Backend {
		return openOn(tb, nil, privateDir(tb), opts)
	})
}

func table(ctx context.Context, b *testing.B, open func(testing.TB, *filebackend.Options) *filebackend.Backend) {
	beside.Table(b, func(size int) []beside.Case {
		dir, ours := b.TempDir(), open(b, nil)
		value := make([]byte, size)
		keys, names, items := make([]string, beside.Keys), make([]string, beside.Keys), make([]backends.Item, beside.Keys)
		for i := range keys {
			keys[i] = benchKey(i)
			names[i] = filepath.Join(dir, filebackend.FileName(keys[i]))
			items[i] = backends.Item{Key: keys[i], Value: value, TTL: time.Hour}
		}
		var turn atomic.Int64
		bareSet := func(i int) error {
			temp := fmt.Sprintf("%s.%d", names[i], turn.Add(1))
			if err := os.WriteFile(temp, make([]byte, size+14), 0o600); err != nil {
				return err
			}
			return os.Rename(temp, names[i])
		}
		bareGet := func(i int) error { _, err := os.ReadFile(names[i]); return err }
		oursSet := func(i int) error { return ours.Set(ctx, keys[i], value, time.Hour) }
		for i := range keys {
			if err := errors.Join(bareSet(i), oursSet(i)); err != nil {
				b.Fatal(err)
			}
		}
		hundred := func(f func(int) error) func(int) error {
			return func(int) error {
				for i := range beside.Batch {
					if err := f(i); err != nil {
						return err
					}
				}
				return nil
			}
		}
		return []beside.Case{
			{Name: "get", Bare: bareGet, Ours: func(i int) error { _, err := ours.Get(ctx, keys[i]); return err }},
			{Name: "set", Bare: bareSet, Ours: oursSet},
			{Name: "get100", Bare: hundred(bareGet), Ours: func(int) error { return ours.GetMany(ctx, keys[:beside.Batch])[beside.Batch-1].Err }},
			{Name: "set100", Bare: hundred(bareSet), Ours: func(int) error { return ours.SetMany(ctx, items[:beside.Batch])[beside.Batch-1] }},
		}
	})
}

func BenchmarkGetMany(b *testing.B) {
	s := openNew(b, nil)
	keys := make([]string, 100)
	for i := range keys {
		keys[i] = benchKey(i)
		if err := s.Set(context.Background(), keys[i], make([]byte, 1024), time.Hour); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("100 times Get", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for _, key := range keys {
				if _, err := s.Get(context.Background(), key); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("GetMany of 100", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for _, r := range s.GetMany(context.Background(), keys) {
				if r.Err != nil {
					b.Fatal(r.Err)
				}
			}
		}
	})
}
