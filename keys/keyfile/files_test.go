//go:build linux

package keyfile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/keys/keyfile"
)

var (
	ctx     = context.Background()
	clearly = keyfile.Cleartext()
)

func nothing(*keyfile.Document) error { return nil }

// created returns the path of a new cleartext file.
func created(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ring.json")
	if err := keyfile.Create(ctx, path, clearly, must(keyfile.NewDocument(must(keys.NewKeyring(keys.Generate()))(t), "", day))(t)); err != nil {
		t.Fatal(err)
	}
	return path
}

// names returns what is in the directory of path.
func names(t testing.TB, path string) (out []string) {
	t.Helper()
	for _, e := range must(os.ReadDir(filepath.Dir(path)))(t) {
		out = append(out, e.Name())
	}
	return out
}

func TestModeDoesNotDependOnTheUmask(t *testing.T) {
	for _, mask := range []int{0, 0o022, 0o077, 0o277, 0o777} {
		dir := t.TempDir()
		old := syscall.Umask(mask)
		path := filepath.Join(dir, "ring")
		err := keyfile.Create(ctx, path, clearly, newDoc(t))
		if err == nil && mask != 0o277 && mask != 0o777 {
			err = keyfile.Update(ctx, path, clearly, nothing)
		}
		syscall.Umask(old)
		if mask == 0o277 || mask == 0o777 { // the lock file comes out unusable
			if os.Geteuid() == 0 && (err != nil || must(os.Stat(path))(t).Mode() != 0o600) {
				t.Errorf("umask %03o: %v, or another mode than 0600", mask, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("umask %03o: %v", mask, err)
		}
		if info := must(os.Stat(path))(t); info.Mode() != 0o600 {
			t.Errorf("umask %03o: the mode is %v", mask, info.Mode())
		}
	}
}

// unsafeTargets are what may be in the place of a file, with a word of the
// refusal.
func unsafeTargets(t *testing.T) map[string]struct {
	put  func(path string) error
	word string
} {
	good := must(os.ReadFile(created(t)))(t)
	write := func(mode fs.FileMode) func(string) error {
		return func(path string) error {
			return errors.Join(os.WriteFile(path, good, 0o600), os.Chmod(path, mode))
		}
	}
	target := created(t)
	out := map[string]struct {
		put  func(path string) error
		word string
	}{
		"a symbolic link":           {func(p string) error { return os.Symlink(target, p) }, "symbolic link"},
		"a dangling link":           {func(p string) error { return os.Symlink(p+".gone", p) }, "symbolic link"},
		"a FIFO":                    {func(p string) error { return syscall.Mkfifo(p, 0o600) }, "regular file"},
		"a directory":               {func(p string) error { return os.Mkdir(p, 0o700) }, "regular file"},
		"a socket":                  {socket, "regular file"},
		"a file for the group":      {write(0o640), "chmod 600"},
		"a file for all":            {write(0o604), "chmod 600"},
		"a file all may write":      {write(0o602), "chmod 600"},
		"a file of more than 1 MiB": {func(p string) error { return os.WriteFile(p, make([]byte, keyfile.MaxFileBytes+1), 0o600) }, "more than"},
	}
	if os.Geteuid() == 0 {
		out["a file of another user"] = struct {
			put  func(path string) error
			word string
		}{func(p string) error { return errors.Join(write(0o600)(p), os.Chown(p, 12345, 0)) }, "belongs to user 12345"}
	}
	return out
}

func socket(path string) error {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	defer os.Chdir(dir)
	if err := os.Chdir(filepath.Dir(path)); err != nil { // the name must be short
		return err
	}
	return syscall.Bind(fd, &syscall.SockaddrUnix{Name: filepath.Base(path)})
}

// Rule: what is no safe regular file is refused without waiting, by reads and
// writes, and left as it is.
func TestUnsafeFilesAreRefused(t *testing.T) {
	for name, target := range unsafeTargets(t) {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ring")
			if err := target.put(path); err != nil {
				t.Fatal(err)
			}
			before := must(os.Lstat(path))(t)
			check := func(op string, err error) {
				t.Helper()
				if !errors.Is(err, keyfile.ErrUnsafe) || !strings.Contains(err.Error(), target.word) {
					t.Errorf("%s: got %v, want ErrUnsafe with %q", op, err, target.word)
				}
			}
			_, err := keyfile.Read(ctx, path, clearly, nil)
			check("read", err)
			_, _, err = keyfile.Probe(path, nil)
			check("probe", err)
			check("update", keyfile.Update(ctx, path, clearly, nothing))
			_, err = keyfile.Open(path, clearly, nil).Keyring(ctx)
			check("source", err)
			if err := keyfile.Create(ctx, path, clearly, newDoc(t)); !errors.Is(err, fs.ErrExist) {
				t.Errorf("create: %v", err)
			}
			if after := must(os.Lstat(path))(t); after.Mode() != before.Mode() || !os.SameFile(before, after) {
				t.Error("it was changed or replaced")
			}
		})
	}
	if _, err := keyfile.Read(ctx, "/dev/full", clearly, nil); !errors.Is(err, keyfile.ErrUnsafe) {
		t.Errorf("a device: %v", err)
	}
	if _, err := keyfile.Read(ctx, filepath.Join(t.TempDir(), "none"), clearly, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := keyfile.Read(ctx, "", clearly, nil); err == nil {
		t.Error("no path: no error")
	}
}

func TestNoProtectionIsNoDefault(t *testing.T) {
	path := created(t)
	for op, err := range map[string]error{
		"create": keyfile.Create(ctx, path+"2", nil, newDoc(t)),
		"read":   second(keyfile.Read(ctx, path, nil, nil)),
		"update": keyfile.Update(ctx, path, nil, nothing),
		"source": second(keyfile.Open(path, nil, nil).Keyring(ctx)),
	} {
		if err == nil || !strings.Contains(err.Error(), "no protection") {
			t.Errorf("%s: %v", op, err)
		}
	}
}

func TestCreateNeverOverwrites(t *testing.T) {
	path := created(t)
	before := must(os.ReadFile(path))(t)
	d := newDoc(t)
	if err := keyfile.Create(ctx, path, clearly, d); !errors.Is(err, fs.ErrExist) || d.Generation() != 0 {
		t.Errorf("got %v, generation %d", err, d.Generation())
	}
	if after := must(os.ReadFile(path))(t); !bytes.Equal(before, after) {
		t.Error("the file is another one")
	}
	// Rule: the name is taken without a window, even from who ignores the lock.
	if err := keyfile.WriteFile(path, []byte("x"), true); !errors.Is(err, fs.ErrExist) {
		t.Errorf("the write itself: %v", err)
	}
	if got := names(t, path); len(got) != 2 {
		t.Errorf("the directory has %v", got)
	}
}

// Rule: a change that fails leaves the file as it was.
func TestAFailedUpdateChangesNothing(t *testing.T) {
	path := created(t)
	before := must(os.ReadFile(path))(t)
	boom := errors.New("boom")
	locked := must(keyfile.KMS(brokenKMS{boom}, "broken://key"))(t)
	for name, tc := range map[string]struct {
		change func(*keyfile.Document) error
		want   error
	}{
		"the change fails": {func(d *keyfile.Document) error {
			_, err := d.Stage(keys.Generate(), "", day)
			return errors.Join(err, boom)
		}, boom},
		"a step is refused":    {func(d *keyfile.Document) error { return d.Destroy(d.Keys()[0].ID, day) }, keyfile.ErrTransition},
		"the KMS refuses":      {func(d *keyfile.Document) error { d.Protect(locked); return nil }, keyfile.ErrKMS},
		"the wrong protection": {nothing, keyfile.ErrProtection},
	} {
		p := clearly
		if name == "the wrong protection" {
			p = must(keyfile.QuickPassphrase(phrase))(t)
		}
		if err := keyfile.Update(ctx, path, p, tc.change); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
		if after := must(os.ReadFile(path))(t); !bytes.Equal(before, after) {
			t.Errorf("%s: the file has changed", name)
		}
	}
	if got := names(t, path); len(got) != 2 {
		t.Errorf("the directory has %v", got)
	}
}

func TestReadOnlyDirectory(t *testing.T) {
	if os.Geteuid() == 0 { // root may write everywhere: run as somebody else
		dir := t.TempDir()
		for d := dir; d != "/" && d != "/tmp"; d = filepath.Dir(d) {
			os.Chmod(d, 0o755)
		}
		out, err := child(t, "read-only directory", dir, asNobody)
		if err != nil {
			t.Errorf("%v %s", err, out)
		}
		return
	}
	if err := readOnlyDirectory(t.TempDir()); err != nil {
		t.Error(err)
	}
}

func readOnlyDirectory(dir string) error {
	err := keyfile.Create(ctx, filepath.Join(dir, "ring"), clearly, fresh())
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "must be writable") {
		return fmt.Errorf("create: %v", err)
	}
	return nil
}

func fresh() *keyfile.Document {
	ring, err := keys.NewKeyring(keys.Generate())
	if err != nil {
		panic(err)
	}
	d, err := keyfile.NewDocument(ring, "", day)
	if err != nil {
		panic(err)
	}
	return d
}

func TestTwoWritersExcludeEachOther(t *testing.T) {
	path := created(t)
	release := must(keyfile.LockFile(ctx, path))(t)
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if err := keyfile.Update(short, path, clearly, nothing); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while another writer is at it: %v", err)
	}
	if _, err := keyfile.Read(ctx, path, clearly, nil); err != nil {
		t.Errorf("readers wait for nobody: %v", err)
	}
	if err := keyfile.Update(ctx, path, clearly, nothing); !errors.Is(err, keyfile.ErrLocked) {
		t.Errorf("after waiting: %v", err)
	}
	release()
	// Rule: no update is lost.
	const n = 8
	errs := make(chan error)
	for i := range n {
		go func() {
			errs <- keyfile.Update(ctx, path, clearly, func(d *keyfile.Document) error {
				id, err := d.Stage(keys.Generate(), fmt.Sprint(i), day)
				return errors.Join(err, d.Retire(id, day))
			})
		}()
	}
	for range n {
		if err := <-errs; err != nil && !errors.Is(err, keyfile.ErrLocked) {
			t.Error(err)
		} else if err != nil {
			t.Log("one gave up waiting")
		}
	}
	if d := must(keyfile.Read(ctx, path, clearly, nil))(t); int(d.Generation()) != len(d.Keys()) {
		t.Errorf("%d keys after %d generations: an update is lost", len(d.Keys()), d.Generation())
	}
	// Rule: a link in place of the lock file is not followed.
	lock := filepath.Join(filepath.Dir(path), ".ring.json.lock")
	if err := errors.Join(os.Remove(lock), os.Symlink(path, lock)); err != nil {
		t.Fatal(err)
	}
	if err := keyfile.Update(ctx, path, clearly, nothing); err == nil {
		t.Error("the lock file is a link, and was used")
	}
}

// Rule: what a killed writer left is removed, and nothing else.
func TestLeftoversAreRemoved(t *testing.T) {
	path := created(t)
	dir := filepath.Dir(path)
	gone := []string{".ring.json123456789012", ".ring.json9223372036854775807"}
	stay := []string{".ring.json1", ".ring.jsonx", "ring.json123456789012", ".ringxjson123456789012", ".ring.json12345678901234567890", "other"}
	for _, n := range append(append([]string{}, gone...), stay...) {
		if err := os.WriteFile(filepath.Join(dir, n), []byte("key"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := keyfile.Update(ctx, path, clearly, nothing); err != nil {
		t.Fatal(err)
	}
	left := strings.Join(names(t, path), " ") + " "
	for _, n := range gone {
		if strings.Contains(left, n+" ") {
			t.Errorf("%s is still there", n)
		}
	}
	for _, n := range stay {
		if !strings.Contains(left, n+" ") {
			t.Errorf("%s is gone", n)
		}
	}
}
