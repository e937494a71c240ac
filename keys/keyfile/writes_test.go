//go:build linux

package keyfile_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/keys/keyfile"
)

// Rule: each bit of the mode counts for itself; mounted, the group may read, and
// that is all.
func TestEveryBitOfTheMode(t *testing.T) {
	path := created(t)
	for bit := fs.FileMode(1); bit <= 0o040; bit <<= 1 {
		if err := os.Chmod(path, 0o600|bit); err != nil {
			t.Fatal(err)
		}
		for _, mounted := range []bool{false, true} {
			_, err := keyfile.Read(ctx, path, clearly, &keyfile.Options{Mounted: mounted})
			if ok := mounted && bit == 0o040; (err == nil) != ok || err != nil && !errors.Is(err, keyfile.ErrUnsafe) {
				t.Errorf("mode %04o, mounted %t: %v", 0o600|bit, mounted, err)
			}
		}
	}
}

// Rule: 1 MiB is read, and refused for what is in it.
func TestTheLargestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ring")
	for size, want := range map[int]error{keyfile.MaxFileBytes: keyfile.ErrFormat, keyfile.MaxFileBytes + 1: keyfile.ErrUnsafe} {
		put(t, path, bytes.Repeat([]byte{' '}, size))
		if _, err := keyfile.Read(ctx, path, clearly, nil); !errors.Is(err, want) {
			t.Errorf("%d bytes: got %v, want %v", size, err, want)
		}
	}
}

// Rule: nothing stands in for the lock file.
func TestUnsafeLockFiles(t *testing.T) {
	path := created(t)
	lock := filepath.Join(filepath.Dir(path), ".ring.json.lock")
	for what, make := range map[string]func() error{
		"open to others": func() error { return errors.Join(os.WriteFile(lock, nil, 0o600), os.Chmod(lock, 0o666)) },
		"a FIFO":         func() error { return syscall.Mkfifo(lock, 0o600) },
		"a directory":    func() error { return os.Mkdir(lock, 0o700) },
	} {
		if err := errors.Join(os.Remove(lock), make()); err != nil {
			t.Fatal(err)
		}
		if err := keyfile.Update(ctx, path, clearly, nothing); err == nil || what != "a directory" && !errors.Is(err, keyfile.ErrUnsafe) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Rule: only regular files are taken for what a killed writer left.
func TestLeftoversAreFiles(t *testing.T) {
	path := created(t)
	dir := filepath.Join(filepath.Dir(path), ".ring.json123456789012")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := keyfile.Update(ctx, path, clearly, nothing); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Error(err)
	}
}

// Rule: the document knows what Create has written, and nothing if it failed.
func TestCreateTellsTheDocument(t *testing.T) {
	broken := must(keyfile.KMS(brokenKMS{errors.New("down")}, "broken://key"))(t)
	path, d := filepath.Join(t.TempDir(), "ring"), newDoc(t)
	if err := keyfile.Create(ctx, path, broken, d); !errors.Is(err, keyfile.ErrKMS) || d.Generation() != 0 || d.Written() != day || d.Protection() != "" {
		t.Errorf("after a failure: generation %d, written %v, %q (%v)", d.Generation(), d.Written(), d.Protection(), err)
	}
	if err := keyfile.Create(ctx, path, clearly, d); err != nil || d.Generation() != 1 || d.Protection() != "cleartext" || d.Written() == day {
		t.Errorf("generation %d, written %v, %q (%v)", d.Generation(), d.Written(), d.Protection(), err)
	}
	// Rule: a path that is taken is refused before a KMS is asked.
	if err := keyfile.Create(ctx, path, broken, newDoc(t)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a path that is taken: %v", err)
	}
}

// Rule: no update writes what could not be read again, and each says when.
func TestUpdatesStayWithinBounds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ring")
	put(t, path, must(newDoc(t).Bytes(clearly, keyfile.MaxGeneration-1))(t))
	update(t, path, clearly, nothing)
	d := must(keyfile.Read(ctx, path, clearly, nil))(t)
	if d.Generation() != keyfile.MaxGeneration || time.Since(d.Written()).Abs() > time.Hour {
		t.Errorf("generation %d, written %v", d.Generation(), d.Written())
	}
	unchanged := func(why string, change func(*keyfile.Document) error) {
		t.Helper()
		before := must(os.ReadFile(path))(t)
		if err := keyfile.Update(ctx, path, clearly, change); !errors.Is(err, keyfile.ErrTransition) {
			t.Errorf("%s: %v", why, err)
		}
		if !bytes.Equal(before, must(os.ReadFile(path))(t)) {
			t.Errorf("%s: the file has changed", why)
		}
	}
	unchanged("the last generation", nothing)
	put(t, path, must(newDoc(t).Bytes(clearly, 1))(t))
	unchanged("more than 512 KiB", func(d *keyfile.Document) error {
		for i := range 250 { // JSON has six bytes for each of these
			k := must(keys.Hex(strings.Repeat(fmt.Sprintf("%02x", i), 1024)))(t)
			id := must(d.Stage(k, strings.Repeat("<", 256), day))(t)
			if err := d.Retire(id, day); err != nil {
				t.Fatal(err)
			}
		}
		return nil
	})
}

func TestProbeSaysWhatTheFileClaims(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ring")
	p := must(keyfile.KMS(echoKMS{}, "echo://key"))(t)
	file := string(must(newDoc(t).Bytes(p, 1))(t))
	put(t, path, []byte(file))
	if kind, uri, err := keyfile.Probe(path, nil); kind != "kms" || uri != "echo://key" || err != nil {
		t.Errorf("got %q, %q, %v", kind, uri, err)
	}
	put(t, path, []byte(strings.Replace(file, `"kms"`, `"rot13"`, 1)))
	if kind, _, err := keyfile.Probe(path, nil); kind != "" || !errors.Is(err, keyfile.ErrVersion) {
		t.Errorf("an unknown kind: %q, %v", kind, err)
	}
}

// Rule: on the way to a mounted file, nobody else may write a directory; links
// lead up as well as down, and not for ever.
func TestTheWayToAMount(t *testing.T) {
	content := must(os.ReadFile(created(t)))(t)
	root := t.TempDir()
	dir, path := filepath.Join(root, "a"), filepath.Join(root, "a", "ring")
	if err := errors.Join(
		os.Mkdir(dir, 0o700), os.Mkdir(filepath.Join(root, "b"), 0o700), os.WriteFile(filepath.Join(root, "b", "ring"), content, 0o600),
		os.Symlink("../b/./ring", path), os.Symlink("loop", filepath.Join(root, "loop")),
	); err != nil {
		t.Fatal(err)
	}
	mounted := &keyfile.Options{Mounted: true}
	must(keyfile.Read(ctx, path, clearly, mounted))(t)
	for _, mode := range []fs.FileMode{0o720, 0o702} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := keyfile.Read(ctx, path, clearly, mounted); !errors.Is(err, keyfile.ErrUnsafe) {
			t.Errorf("a directory of mode %04o: %v", mode, err)
		}
	}
	if _, err := keyfile.Read(ctx, filepath.Join(root, "loop"), clearly, mounted); !errors.Is(err, keyfile.ErrUnsafe) || !strings.Contains(err.Error(), "too many links") {
		t.Errorf("a loop: %v", err)
	}
}

// Rule: a program that is not root reads what root has mounted for its group,
// and only as a mount.
func TestAMountOfRoot(t *testing.T) {
	if os.Geteuid() != 0 { // who is not root has no file of root to hand out
		return
	}
	path := created(t)
	for d := filepath.Dir(path); d != "/" && d != "/tmp"; d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
	if err := errors.Join(os.Chown(path, 0, 65534), os.Chmod(path, 0o440)); err != nil {
		t.Fatal(err)
	}
	if out, err := child(t, "read a mount of root", filepath.Dir(path), asNobody); err != nil {
		t.Errorf("%v %s", err, out)
	}
}

func readMountOfRoot(dir string) error {
	path := filepath.Join(dir, "ring.json")
	if _, err := keyfile.Read(ctx, path, clearly, &keyfile.Options{Mounted: true}); err != nil {
		return fmt.Errorf("mounted: %w", err)
	}
	if _, err := keyfile.Read(ctx, path, clearly, nil); !errors.Is(err, keyfile.ErrUnsafe) || !strings.Contains(err.Error(), "belongs to user 0") {
		return fmt.Errorf("not mounted: %v", err)
	}
	return nil
}

// Rule: a key that this process has seen retired or destroyed is not current
// again either, in whatever file.
func TestRetiredKeysStayOut(t *testing.T) {
	for _, destroy := range []bool{false, true} {
		k := keys.Generate()
		of := func() *keyfile.Document { return must(keyfile.NewDocument(must(keys.NewKeyring(k))(t), "", day))(t) }
		d := of()
		old := d.Keys()[0].ID
		if err := errors.Join(stage(d), promote(d), d.Retire(old, day)); err != nil {
			t.Fatal(err)
		}
		if destroy {
			if err := d.Destroy(old, day); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(t.TempDir(), "ring")
		put(t, path, must(d.Bytes(clearly, 1))(t))
		must(keyfile.Open(path, clearly, nil).Keyring(ctx))(t)
		put(t, path, must(of().Bytes(clearly, 9))(t))
		if _, err := keyfile.Open(path, clearly, nil).Keyring(ctx); !errors.Is(err, keyfile.ErrRollback) {
			t.Errorf("destroyed %t: %v", destroy, err)
		}
	}
}

// Rule: a file that goes back is opened once, however often it is looked at.
func TestARollbackIsOpenedOnce(t *testing.T) {
	kms := new(slowKMS)
	p := must(keyfile.KMS(kms, "slow://key"))(t)
	path, d := filepath.Join(t.TempDir(), "ring"), newDoc(t)
	put(t, path, must(d.Bytes(p, 2))(t))
	s := keyfile.Open(path, p, nil)
	must(s.Keyring(ctx))(t)
	put(t, path, must(d.Bytes(p, 1))(t))
	for range 3 {
		if _, err := s.Keyring(ctx); !errors.Is(err, keyfile.ErrRollback) {
			t.Error(err)
		}
	}
	if n := kms.calls.Load(); n != 2 {
		t.Errorf("the KMS was called %d times, want 2", n)
	}
}

// Rule: what the process has seen is shared by sources that load at a time.
func TestSourcesLoadAtATime(t *testing.T) {
	var wg sync.WaitGroup
	for range 8 {
		path := created(t)
		wg.Go(func() {
			for range 50 {
				if _, err := keyfile.Open(path, clearly, nil).Keyring(ctx); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// Rule: the same text is another thing under another variable, and a mounted
// secret may lie behind a link.
func TestFromEnvAsksForWhatIsNamed(t *testing.T) {
	id := identity(t)
	file := secretFile(t, id.String())
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ring")
	d := newDoc(t)
	put(t, path, must(d.Bytes(must(keyfile.QuickPassphrase(id.String()))(t), 1))(t))
	environment(t, map[string]string{keyfile.EnvKeyring: path, keyfile.EnvPassphraseFile: link})
	s := keyfile.FromEnv(&keyfile.Options{Mounted: true})
	must(s.Keyring(ctx))(t)
	put(t, path, must(d.Bytes(ageOf(t, id), 2))(t))
	os.Unsetenv(keyfile.EnvPassphraseFile)
	os.Setenv(keyfile.EnvIdentityFile, link)
	must(s.Keyring(ctx))(t)
}
