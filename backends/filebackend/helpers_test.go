package filebackend_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cachekit-io/cachekit-go/backends/filebackend"
)

// privateDir returns a new directory of mode 0700.
func privateDir(tb testing.TB) string {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), "cache")
	if err := os.Mkdir(dir, 0o700); err != nil {
		tb.Fatal(err)
	}
	return dir
}

func openAt(tb testing.TB, dir string, opts *filebackend.Options) *filebackend.Backend {
	tb.Helper()
	b, err := filebackend.Open(dir, opts)
	if err != nil {
		tb.Fatalf("Open = %v, want nil", err)
	}
	tb.Cleanup(func() { b.Close() })
	return b
}

func openNew(tb testing.TB, opts *filebackend.Options) *filebackend.Backend {
	tb.Helper()
	return openAt(tb, privateDir(tb), opts)
}

func pathOf(dir, key string) string { return filepath.Join(dir, filebackend.FileName(key)) }
