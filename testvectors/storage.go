package testvectors

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/filebackend"
	"github.com/cachekit-io/cachekit-go/internal/freshness"
	"github.com/cachekit-io/cachekit-go/internal/pathkey"
)

// checkFile lays a file out in a directory of its own and reads its key. The
// expiries of the cases lie decades from now, on either side.
func checkFile(c struct {
	header
	Key      string   `json:"key"`
	FileName string   `json:"file_name"`
	File     hexBytes `json:"file_hex"`
	Action   string   `json:"action"`
	Payload  hexBytes `json:"payload_hex"`
}) error {
	dir, err := os.MkdirTemp("", "testvectors-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, filepath.Base(c.FileName))
	if err := os.WriteFile(path, c.File, 0o600); err != nil {
		return err
	}
	b, err := filebackend.Open(dir, nil)
	if err != nil {
		return err
	}
	defer b.Close()
	got, err := b.Get(context.Background(), c.Key)
	after, statErr := os.ReadFile(path)
	kept := statErr == nil && same("file", after, c.File) == nil
	gone := errors.Is(statErr, fs.ErrNotExist)
	miss := errors.Is(err, backends.ErrNotFound)
	switch {
	case c.Action == "payload" && err == nil && kept:
		return same("payload", got, c.Payload)
	case c.Action == "miss_keep" && miss && kept, c.Action == "miss_remove" && miss && gone:
		return nil
	}
	return fmt.Errorf("read: %v, file kept: %v, want %s", err, kept, c.Action)
}

func checkPathKey(c struct {
	header
	Key     string `json:"key"`
	Encoded string `json:"encoded"`
	Refused bool   `json:"refused"`
}) error {
	got, err := pathkey.Encode(c.Key)
	if c.Refused {
		return classified(err, "reserved", map[string]error{"reserved": pathkey.ErrReserved})
	}
	if err != nil || got != c.Encoded {
		return fmt.Errorf("encoded %q (%v), want %q", got, err, c.Encoded)
	}
	return nil
}

func checkFreshness(c struct {
	header
	Lines []hexBytes `json:"lines_hex"`
	Stale bool       `json:"stale"`
}) error {
	if got := freshness.Stale(texts(c.Lines)); got != c.Stale {
		return fmt.Errorf("stale is %t, want %t", got, c.Stale)
	}
	return nil
}

func checkFreshFor(c struct {
	header
	Lines   []hexBytes `json:"lines_hex"`
	Bounded bool       `json:"bounded"`
	Seconds int        `json:"seconds"`
}) error {
	got, bounded := freshness.For(texts(c.Lines))
	if want := time.Duration(c.Seconds) * time.Second; got != want || bounded != c.Bounded {
		return fmt.Errorf("the bound is %v (%t), want %v (%t)", got, bounded, want, c.Bounded)
	}
	return nil
}

func texts(lines []hexBytes) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = string(l)
	}
	return out
}
