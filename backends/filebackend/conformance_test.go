package filebackend_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/backendtest"
	"github.com/cachekit-io/cachekit-go/backends/filebackend"
)

func TestConformance(t *testing.T) {
	openDir := func(tb testing.TB, dir string) backends.Backend {
		tb.Helper()
		b, err := filebackend.Open(dir, nil)
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { b.Close() })
		return b
	}
	backendtest.Run(t, backendtest.Harness{
		Want:        []string{"Batcher", "EntryReader", "TTLer", "Locker", "Swapper", "Replacer"},
		Granularity: time.Second,
		Without: map[string]string{
			"Stall": "no server: stalled disks have tests of their own in stall_test.go",
			"Kill":  "no server: a directory cannot become unreachable",
		},
		Open: func(tb testing.TB) backendtest.Subject {
			dir, err := os.MkdirTemp("", "filebackend-")
			if err != nil {
				tb.Fatal(err)
			}
			tb.Cleanup(func() { os.RemoveAll(dir) })
			return backendtest.Subject{
				Backend: openDir(tb, dir),
				Other:   func(tb testing.TB) backends.Backend { return openDir(tb, dir) },
				Raw: func(tb testing.TB, _ string) []byte {
					paths, _ := filepath.Glob(filepath.Join(dir, "[0-9a-f]*"))
					if len(paths) != 1 {
						return nil
					}
					raw, err := os.ReadFile(paths[0])
					if err != nil || len(raw) < 14 || string(raw[:6]) != "CK\x01\x00\x00\x00" {
						tb.Fatalf("the file has %d bytes (%v)", len(raw), err)
					}
					return raw[14:]
				},
			}
		},
	})
}
