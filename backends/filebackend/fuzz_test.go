package filebackend_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/filebackend"
)

// FuzzRead: whatever a file holds, Get returns exactly the bytes after a header
// of version 1 without flags that is not expired, misses otherwise, and changes
// no file of another version.
func FuzzRead(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.file(f))
	}
	f.Add([]byte("CK\x01\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xffx"))
	f.Add([]byte("CK\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00x"))
	f.Add([]byte("CK\x01"))
	dir := privateDir(f)
	b := openAt(f, dir, &filebackend.Options{SweepInterval: -1})
	ctx := context.Background()
	path := pathOf(dir, "key")
	f.Fuzz(func(t *testing.T, content []byte) {
		now := time.Now()
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		family := len(content) >= 14 && string(content[:3]) == "CK\x01"
		known := family && content[3]|content[4]|content[5] == 0
		live := known
		if known {
			expiry := binary.BigEndian.Uint64(content[6:])
			if expiry != 0 && expiry < uint64(now.Unix())+2 && expiry > uint64(now.Unix())-2 {
				return // the clock decides
			}
			live = expiry == 0 || expiry > uint64(now.Unix())
		}
		e, err := b.GetEntry(ctx, "key")
		if live && (err != nil || !bytes.Equal(e.Value, content[14:]) || e.TTL <= 0) {
			t.Fatalf("GetEntry of a live file = %+v, %v", e, err)
		}
		if !live && !errors.Is(err, backends.ErrNotFound) {
			t.Fatalf("GetEntry of a file that is not live = %+v, %v", e, err)
		}
		after, err := os.ReadFile(path)
		stays := live || family && !known
		if stays != (err == nil) || stays && !bytes.Equal(after, content) {
			t.Fatalf("the file is now %x (%v), want it to stay as it was: %t", after, err, stays)
		}
	})
}
