//go:build linux

package keyfile_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/keys/keyfile"
)

func put(t testing.TB, path string, content []byte) {
	t.Helper()
	tmp := path + ".tmp"
	if err := errors.Join(os.WriteFile(tmp, content, 0o600), os.Rename(tmp, path)); err != nil {
		t.Fatal(err)
	}
}

func update(t testing.TB, path string, p *keyfile.Protection, change func(*keyfile.Document) error) {
	t.Helper()
	if err := keyfile.Update(ctx, path, p, change); err != nil {
		t.Fatal(err)
	}
}

func stage(d *keyfile.Document) error {
	_, err := d.Stage(keys.Generate(), "", day)
	return err
}

// promote makes the last key current.
func promote(d *keyfile.Document) error {
	all := d.Keys()
	return d.Promote(all[len(all)-1].ID, day)
}

func TestSource(t *testing.T) {
	path := created(t)
	s := keyfile.Open(path, clearly, nil)
	if s.RefreshInterval() != 10*time.Second || keyfile.DefaultWatch != 10*time.Second {
		t.Errorf("watched every %v", s.RefreshInterval())
	}
	var _ keys.Refresher = s
	first := must(s.Keyring(ctx))(t)
	if again := must(s.Keyring(ctx))(t); again != first {
		t.Error("another keyring, though nothing has changed")
	}
	same := must(os.ReadFile(path))(t)
	put(t, path, same)
	if again := must(s.Keyring(ctx))(t); again != first {
		t.Error("another keyring, though the content is the same")
	}
	update(t, path, clearly, stage)
	second := must(s.Keyring(ctx))(t)
	if second == first || second.Len() != 2 {
		t.Errorf("a changed file: %d keys, changed %v", second.Len(), second != first)
	}
	// Rule: a bad file is an error, and the good one is known when it is back.
	good := must(os.ReadFile(path))(t)
	put(t, path, good[:len(good)/2])
	for range 2 {
		if ring, err := s.Keyring(ctx); !errors.Is(err, keyfile.ErrFormat) || ring != nil {
			t.Errorf("a broken file: %v", err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Keyring(ctx); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	put(t, path, good)
	if again := must(s.Keyring(ctx))(t); again != second {
		t.Error("another keyring, though the same content is back")
	}
	for watch, want := range map[time.Duration]time.Duration{-1: 0, time.Second: time.Second} {
		if got := keyfile.Open(path, clearly, &keyfile.Options{Watch: watch}).RefreshInterval(); got != want {
			t.Errorf("Watch %v: %v, want %v", watch, got, want)
		}
	}
}

// Rule: nothing goes back in this process, whichever source looks.
func TestNothingGoesBack(t *testing.T) {
	path := created(t)
	one := must(os.ReadFile(path))(t)
	update(t, path, clearly, stage)
	two := must(os.ReadFile(path))(t)
	update(t, path, clearly, promote)
	three := must(os.ReadFile(path))(t)
	s := keyfile.Open(path, clearly, nil)
	must(s.Keyring(ctx))(t)
	for name, src := range map[string]*keyfile.Source{"the same source": s, "a new source": keyfile.Open(path, clearly, nil)} {
		for i, old := range [][]byte{one, two} {
			put(t, path, old)
			if ring, err := src.Keyring(ctx); !errors.Is(err, keyfile.ErrRollback) || ring != nil {
				t.Errorf("%s, generation %d: %v", name, i+1, err)
			}
		}
		put(t, path, three)
		if _, err := src.Keyring(ctx); err != nil {
			t.Errorf("%s, the latest is back: %v", name, err)
		}
	}

	// Rule: the generation counts, also where the current key is the same.
	update(t, path, clearly, stage)
	four := must(os.ReadFile(path))(t)
	must(s.Keyring(ctx))(t)
	put(t, path, three)
	if _, err := s.Keyring(ctx); !errors.Is(err, keyfile.ErrRollback) || !strings.Contains(err.Error(), "generation 3, this process has loaded 4") {
		t.Errorf("a generation back, with the same current key: %v", err)
	}
	put(t, path, four)
	update(t, path, clearly, func(d *keyfile.Document) error { return d.Retire(d.Keys()[2].ID, day) })
	five := must(os.ReadFile(path))(t)

	// Two writers on copies: the same generation twice.
	fork := filepath.Join(t.TempDir(), "fork")
	put(t, fork, five)
	update(t, fork, clearly, stage)
	update(t, path, clearly, stage)
	must(s.Keyring(ctx))(t)
	put(t, path, must(os.ReadFile(fork))(t))
	if _, err := s.Keyring(ctx); !errors.Is(err, keyfile.ErrRollback) || !strings.Contains(err.Error(), "copies") {
		t.Errorf("another document of the same generation: %v", err)
	}

	// Another keyring, which is fine in itself.
	put(t, path, must(os.ReadFile(created(t)))(t))
	if _, err := s.Keyring(ctx); !errors.Is(err, keyfile.ErrRollback) || !strings.Contains(err.Error(), "another keyring") {
		t.Errorf("another keyring under a source that has begun: %v", err)
	}
	if _, err := keyfile.Open(path, clearly, nil).Keyring(ctx); err != nil {
		t.Errorf("another keyring for a new source: %v", err)
	}
}

// Rule: a key that this process has seen demoted is current in no other keyring.
func TestADemotedKeyIsNeverCurrentAgain(t *testing.T) {
	path := created(t)
	d := must(keyfile.Read(ctx, path, clearly, nil))(t)
	k := must(d.MasterKey(d.Keys()[0].ID))(t)
	update(t, path, clearly, stage)
	update(t, path, clearly, promote)
	must(keyfile.Open(path, clearly, nil).Keyring(ctx))(t)
	other := filepath.Join(t.TempDir(), "other")
	if err := keyfile.Create(ctx, other, clearly, must(keyfile.NewDocument(must(keys.NewKeyring(k))(t), "", day))(t)); err != nil {
		t.Fatal(err)
	}
	_, err := keyfile.Open(other, clearly, nil).Keyring(ctx)
	if !errors.Is(err, keyfile.ErrRollback) || !strings.Contains(err.Error(), "demoted") {
		t.Errorf("got %v", err)
	}
	// A refused load teaches the process nothing.
	update(t, other, clearly, stage)
	update(t, other, clearly, promote)
	if _, err := keyfile.Open(other, clearly, nil).Keyring(ctx); err != nil {
		t.Errorf("after a fresh key was promoted there: %v", err)
	}
}

// slowKMS counts its calls, and blocks while hold is open.
type slowKMS struct {
	calls atomic.Int64
	hold  chan struct{}
	fail  atomic.Bool
}

func (*slowKMS) Supported(string) bool                 { return true }
func (k *slowKMS) GetAEAD(string) (tink.AEAD, error)   { return k, nil }
func (k *slowKMS) Encrypt(p, _ []byte) ([]byte, error) { return bytes.Clone(p), nil }
func (k *slowKMS) Decrypt(c, _ []byte) ([]byte, error) {
	k.calls.Add(1)
	if k.hold != nil {
		<-k.hold
	}
	if k.fail.Load() {
		return nil, errors.New("down")
	}
	return bytes.Clone(c), nil
}

// Rule: a file is opened once for each content; an outage of the KMS is tried
// again, a refusal of the file is not.
func TestAFileIsOpenedOnce(t *testing.T) {
	kms := new(slowKMS)
	p := must(keyfile.KMS(kms, "slow://key"))(t)
	path := filepath.Join(t.TempDir(), "ring")
	if err := keyfile.Create(ctx, path, p, newDoc(t)); err != nil {
		t.Fatal(err)
	}
	s := keyfile.Open(path, p, nil)
	kms.fail.Store(true)
	for range 3 {
		if _, err := s.Keyring(ctx); !errors.Is(err, keyfile.ErrKMS) {
			t.Errorf("an outage: %v", err)
		}
	}
	kms.fail.Store(false)
	for range 3 {
		must(s.Keyring(ctx))(t)
	}
	if n := kms.calls.Load(); n != 4 {
		t.Errorf("the KMS was called %d times, want 3 during the outage and once after", n)
	}
	file := must(os.ReadFile(path))(t)
	put(t, path, rewrap(t, file, flip(sealedIn(t, file), len(sealedIn(t, file))-1)))
	for range 3 {
		if _, err := s.Keyring(ctx); !errors.Is(err, keyfile.ErrProtection) {
			t.Errorf("a tampered file: %v", err)
		}
	}
	if n := kms.calls.Load(); n != 5 {
		t.Errorf("the KMS was called %d times for a tampered file, want once", n-4)
	}
}

// Rule: the context ends a call even when the KMS takes none, and calls do not
// pile up behind it.
func TestTheContextBoundsALoad(t *testing.T) {
	kms := &slowKMS{hold: make(chan struct{})}
	p := must(keyfile.KMS(kms, "slow://key"))(t)
	path := filepath.Join(t.TempDir(), "ring")
	if err := keyfile.Create(ctx, path, p, newDoc(t)); err != nil {
		t.Fatal(err)
	}
	s := keyfile.Open(path, p, nil)
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			defer cancel()
			if _, err := s.Keyring(short); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := kms.calls.Load(); n > 1 {
		t.Errorf("%d calls are under way", n)
	}
	close(kms.hold)
	must(s.Keyring(ctx))(t)
	if n := kms.calls.Load(); n > 1 {
		t.Errorf("what the abandoned call loaded was not used: %d calls", n)
	}
}

// Rule: as Kubernetes mounts a secret, it is read with Mounted, and only then.
func TestMountedSecrets(t *testing.T) {
	content := must(os.ReadFile(created(t)))(t)
	root := t.TempDir()
	mount := func(version string, content []byte) {
		t.Helper()
		dir := filepath.Join(root, ".."+version)
		if err := errors.Join(
			os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "ring.json"), content, 0o600), os.Chmod(filepath.Join(dir, "ring.json"), 0o440),
			os.Symlink(".."+version, filepath.Join(root, "..tmp")), os.Rename(filepath.Join(root, "..tmp"), filepath.Join(root, "..data")),
		); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(root, "ring.json")
	mount("2027_01", content)
	if err := errors.Join(os.Chmod(root, 0o777|fs.ModeSticky), os.Symlink("..data/ring.json", path)); err != nil {
		t.Fatal(err)
	}
	if _, err := keyfile.Open(path, clearly, nil).Keyring(ctx); !errors.Is(err, keyfile.ErrUnsafe) || !strings.Contains(err.Error(), "Options.Mounted") {
		t.Errorf("without Mounted: %v", err)
	}
	s := keyfile.Open(path, clearly, &keyfile.Options{Mounted: true})
	first := must(s.Keyring(ctx))(t)
	next := filepath.Join(t.TempDir(), "next")
	put(t, next, content)
	update(t, next, clearly, stage)
	mount("2027_02", must(os.ReadFile(next))(t))
	if second := must(s.Keyring(ctx))(t); second == first || second.Len() != 2 {
		t.Errorf("a new version of the mount: %d keys", second.Len())
	}

	real := filepath.Join(root, "..2027_02", "ring.json")
	for name, tc := range map[string]struct {
		spoil, mend func() error
		root        bool
	}{
		"a file that all may read":          {func() error { return os.Chmod(real, 0o444) }, func() error { return os.Chmod(real, 0o440) }, false},
		"a file that its group may write":   {func() error { return os.Chmod(real, 0o460) }, func() error { return os.Chmod(real, 0o440) }, false},
		"a directory that all may write":    {func() error { return os.Chmod(root, 0o777) }, func() error { return os.Chmod(root, 0o777|fs.ModeSticky) }, false},
		"a directory of another user":       {func() error { return os.Chown(filepath.Dir(real), 12345, 0) }, func() error { return os.Chown(filepath.Dir(real), 0, 0) }, true},
		"a file of another user":            {func() error { return os.Chown(real, 12345, 0) }, func() error { return os.Chown(real, 0, 0) }, true},
		"a link of another user":            {func() error { return os.Lchown(path, 12345, 0) }, func() error { return os.Lchown(path, 0, 0) }, true},
		"a link of another user further on": {func() error { return os.Lchown(filepath.Join(root, "..data"), 12345, 0) }, func() error { return os.Lchown(filepath.Join(root, "..data"), 0, 0) }, true},
	} {
		if tc.root && os.Geteuid() != 0 {
			continue
		}
		if err := tc.spoil(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Keyring(ctx); !errors.Is(err, keyfile.ErrUnsafe) {
			t.Errorf("%s: %v", name, err)
		}
		if err := tc.mend(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Keyring(ctx); err != nil {
			t.Errorf("after %s: %v", name, err)
		}
	}
	if err := keyfile.Update(ctx, path, clearly, nothing); !errors.Is(err, keyfile.ErrUnsafe) {
		t.Errorf("a write through a link: %v", err)
	}
}
