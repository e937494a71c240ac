//go:build unix

package filebackend_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/filebackend"
)

const entryOfPeer = "CK\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00payload"

// Rule: a directory is created 0700, and one that others could enter or that
// belongs to somebody else is refused, with the remedy.
func TestOpenChecksDirectory(t *testing.T) {
	t.Run("created", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "a", "b")
		openAt(t, dir, nil)
		if info, err := os.Stat(dir); err != nil || info.Mode() != fs.ModeDir|0o700 {
			t.Errorf("the directory is %v (%v), want drwx------", info.Mode(), err)
		}
	})
	for _, mode := range []fs.FileMode{0o755, 0o770, 0o701, 0o720, 0o777} {
		dir := privateDir(t)
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		refused(t, dir, "chmod 700")
	}
	if isRoot() {
		dir := privateDir(t)
		if err := os.Chown(dir, 12345, -1); err != nil {
			t.Fatal(err)
		}
		refused(t, dir, "choose a directory of your own")
	}
	t.Run("link to an unsafe one", func(t *testing.T) {
		dir := privateDir(t)
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		link := filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(dir, link); err != nil {
			t.Fatal(err)
		}
		refused(t, link, "chmod 700")
	})
	for _, path := range []string{"", "/dev/null", "/dev/null/x"} {
		if _, err := filebackend.Open(path, nil); err == nil {
			t.Errorf("Open(%q) = nil, want an error", path)
		}
	}
}

func refused(t *testing.T, dir, remedy string) {
	t.Helper()
	b, err := filebackend.Open(dir, nil)
	if err == nil {
		b.Close()
	}
	if !errors.Is(err, filebackend.ErrUnsafe) || !strings.Contains(err.Error(), remedy) {
		t.Errorf("Open = %v, want ErrUnsafe with %q", err, remedy)
	}
}

// isRoot: only root can make another user's file or a device; the cases that need
// one exist for root alone.
func isRoot() bool { return os.Geteuid() == 0 }

// Rule: a link to a safe directory is resolved once; a swap of the path later
// leads nowhere else.
func TestSwappedPath(t *testing.T) {
	ctx := context.Background()
	dir, trap := privateDir(t), privateDir(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	b := openAt(t, link, nil)
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(trap, link); err != nil {
		t.Fatal(err)
	}
	if err := b.Set(ctx, "key", []byte("value"), time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(pathOf(dir, "key")); err != nil {
		t.Errorf("the entry is not in the directory that was opened: %v", err)
	}
	if names, _ := os.ReadDir(trap); len(names) > 0 {
		t.Errorf("%d files escaped into the directory that took the path", len(names))
	}
}

// Rule: what is not a regular file of this user is never followed, read,
// replaced or removed, and never hangs a call.
func TestForeignFiles(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte(entryOfPeer), 0o600); err != nil {
		t.Fatal(err)
	}
	plants := map[string]func(t *testing.T, path string) error{
		"symbolic link":          func(_ *testing.T, path string) error { return os.Symlink(outside, path) },
		"dangling symbolic link": func(_ *testing.T, path string) error { return os.Symlink(outside+"x", path) },
		"link to itself":         func(_ *testing.T, path string) error { return os.Symlink(filepath.Base(path), path) },
		"FIFO":                   func(_ *testing.T, path string) error { return syscall.Mkfifo(path, 0o600) },
		"directory":              func(_ *testing.T, path string) error { return os.Mkdir(path, 0o700) },
		"socket":                 listen,
	}
	if isRoot() {
		plants["device"] = func(_ *testing.T, path string) error {
			return syscall.Mknod(path, syscall.S_IFCHR|0o600, 1<<8|5) // /dev/zero
		}
		plants["file of another user"] = func(_ *testing.T, path string) error {
			return errors.Join(os.WriteFile(path, []byte(entryOfPeer), 0o644), os.Chown(path, 12345, -1))
		}
	}
	for name, plant := range plants {
		t.Run(name, func(t *testing.T) {
			dir := privateDir(t)
			path := pathOf(dir, "key")
			if err := plant(t, path); err != nil {
				t.Fatal(err)
			}
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			b := openAt(t, dir, &filebackend.Options{MaxBytes: 8192})
			leavesAlone(t, b)
			after, err := os.Lstat(path)
			if err != nil || !os.SameFile(before, after) || before.ModTime() != after.ModTime() {
				t.Errorf("the file was changed or removed (%v)", err)
			}
			if got, err := os.ReadFile(outside); err != nil || string(got) != entryOfPeer {
				t.Errorf("the file outside was changed: %q, %v", got, err)
			}
		})
	}
}

func listen(t *testing.T, path string) error {
	// The path is too long for a socket address; its own directory is not.
	l, err := net.Listen("unix", filepath.Join(shortDir(t), "s"))
	if err != nil {
		return err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	t.Cleanup(func() { l.Close() })
	return os.Rename(l.Addr().String(), path)
}

func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ck")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func leavesAlone(t *testing.T, b *filebackend.Backend) {
	t.Helper()
	ctx := context.Background()
	missesAll(t, b, "key")
	if ok, err := b.Delete(ctx, "key"); ok || err != nil {
		t.Errorf("Delete = %t, %v, want false, nil", ok, err)
	}
	err := b.Set(ctx, "key", []byte("value"), time.Hour)
	var failure *backends.Error
	if !errors.As(err, &failure) || failure.Kind != backends.Permanent || !strings.Contains(err.Error(), "remove it by hand") {
		t.Errorf("Set = %v, want a permanent failure with the remedy", err)
	}
	if _, err := b.Sweep(ctx); err != nil {
		t.Errorf("Sweep = %v", err)
	}
	for _, key := range []string{"a", "b", "c", "d"} {
		if err := b.Set(ctx, key, nil, time.Hour); err != nil {
			t.Errorf("Set of another key = %v", err)
		}
	}
	b.Enforce()
}

// Rule: names that are not of the family are not touched, whatever they hold.
func TestForeignNames(t *testing.T) {
	dir := privateDir(t)
	old := time.Now().Add(-48 * time.Hour)
	expired := []byte("CK\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01")
	name := filebackend.FileName("key")
	foreign := []string{
		"README", ".hidden", "x.tmp.1.2", name[:31], name + "0", strings.ToUpper(name), name + ".bak", name + ".tmp",
		".lock-x", ".lock-" + name + "0", ".tmp." + name, name[:31] + "g",
	}
	for _, f := range foreign {
		path := filepath.Join(dir, f)
		if err := errors.Join(os.WriteFile(path, expired, 0o600), os.Chtimes(path, old, old)); err != nil {
			t.Fatal(err)
		}
	}
	b := openAt(t, dir, &filebackend.Options{MaxBytes: 8192})
	if removed, err := b.Sweep(context.Background()); removed != 0 || err != nil {
		t.Errorf("Sweep removed %d files (%v), want none", removed, err)
	}
	for range 3 {
		if err := b.Set(context.Background(), "key", nil, time.Hour); err != nil {
			t.Fatal(err)
		}
		b.Enforce()
	}
	for _, f := range foreign {
		if got, err := os.ReadFile(filepath.Join(dir, f)); err != nil || !bytes.Equal(got, expired) {
			t.Errorf("%s is %q (%v), want it unchanged", f, got, err)
		}
	}
}

// Rule: files are 0600 whatever the umask allows.
func TestFileMode(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	dir := privateDir(t)
	b := openAt(t, dir, nil)
	ctx := context.Background()
	if err := b.Set(ctx, "key", []byte("v"), time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Lock(ctx, "key", time.Hour); err != nil {
		t.Fatal(err)
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 3 {
		t.Fatalf("the directory has %d names (%v), want an entry, its lock and the lock file", len(names), err)
	}
	for _, n := range names {
		if info, err := n.Info(); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s is %v (%v), want -rw-------", n.Name(), info.Mode(), err)
		}
	}
}

// Rule: a file's size is checked before it is read; an entry that is cut off is
// a miss and goes, one that is too large is an error and stays.
func TestSizes(t *testing.T) {
	ctx := context.Background()
	dir := privateDir(t)
	b := openAt(t, dir, &filebackend.Options{MaxValueBytes: 1000})
	head, err := filebackend.NewHeader(time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	path := pathOf(dir, "key")
	plant := func(size int64) {
		t.Helper()
		if err := errors.Join(os.WriteFile(path, head, 0o600), os.Truncate(path, size)); err != nil {
			t.Fatal(err)
		}
	}
	plant(14 + 1000)
	if got, err := b.Get(ctx, "key"); len(got) != 1000 || err != nil {
		t.Errorf("Get at the limit = %d bytes, %v, want 1000, nil", len(got), err)
	}
	plant(1 << 40)
	var failure *backends.Error
	if _, err := b.Get(ctx, "key"); !errors.As(err, &failure) || failure.Kind != backends.TooLarge {
		t.Errorf("Get of a file of 1 TiB = %v, want TooLarge", err)
	}
	if _, err := b.Swap(ctx, "key", nil, nil); !errors.As(err, &failure) || failure.Kind != backends.TooLarge {
		t.Errorf("Swap of a file of 1 TiB = %v, want TooLarge", err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("an entry that is too large was removed: %v", err)
	}
	if err := b.Set(ctx, "key", make([]byte, 1001), time.Hour); !errors.As(err, &failure) || failure.Kind != backends.TooLarge {
		t.Errorf("Set of 1001 bytes = %v, want TooLarge", err)
	}
	if _, err := b.Swap(ctx, "key", nil, make([]byte, 1001)); !errors.As(err, &failure) || failure.Kind != backends.TooLarge {
		t.Errorf("Swap to 1001 bytes = %v, want TooLarge", err)
	}
	for size := range int64(14) {
		plant(size)
		missesAll(t, b, "key")
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a file of %d bytes is there after a read (%v), want it removed", size, err)
		}
	}
}

// Rule: options that cannot work are refused at construction.
func TestOptions(t *testing.T) {
	for _, o := range []filebackend.Options{
		{MaxValueBytes: -1},
		{MaxBytes: 1000, MaxValueBytes: 501},
		{MaxValueBytes: 1 << 30},
	} {
		if b, err := filebackend.Open(privateDir(t), &o); err == nil {
			b.Close()
			t.Errorf("Open with %+v = nil, want an error", o)
		}
	}
	b := openNew(t, &filebackend.Options{MaxBytes: 1000})
	var failure *backends.Error
	if err := b.Set(context.Background(), "key", make([]byte, 501), time.Hour); !errors.As(err, &failure) || failure.Kind != backends.TooLarge {
		t.Errorf("Set of more than half of MaxBytes = %v, want TooLarge", err)
	}
}
