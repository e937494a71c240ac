package filebackend_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends/filebackend"
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
