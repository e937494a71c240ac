//go:build linux

package keyfile_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends/filebackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
	"github.com/cachekit-io/cachekit-go/keys/keyfile"
	"github.com/cachekit-io/cachekit-go/secure"
)

type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) contains(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.buf.String(), text)
}

// A cache that runs through a rotation: no restart, no entry lost, and a file
// that is broken or older leaves it as it was.
func TestACacheFollowsItsFile(t *testing.T) {
	path, p := filepath.Join(t.TempDir(), "ring"), must(keyfile.QuickPassphrase(phrase))(t)
	if err := keyfile.Create(ctx, path, p, newDoc(t)); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	os.Chmod(dir, 0o700)
	backend := must(filebackend.Open(dir, nil))(t)
	defer backend.Close()
	log := new(logBuffer)
	c := must(secure.NewMinimal(ctx, &secure.Options{
		Backend: backend, NoL1: true, Keyring: keyfile.Open(path, p, &keyfile.Options{Watch: 10 * time.Millisecond}),
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	}))(t)
	defer c.Close()
	reloads := uint64(0)
	step := func(change func(*keyfile.Document) error) {
		t.Helper()
		update(t, path, p, change)
		reloads++
		testenv.Poll(t, 30*time.Second, "the reload", func() bool { return c.Stats().KeyringReloads == reloads })
	}
	put1 := func(key string) {
		t.Helper()
		if err := c.Set(ctx, key, key); err != nil {
			t.Fatal(err)
		}
	}
	opens := func(key string) error {
		var v string
		found, err := c.Get(ctx, key, &v)
		if err == nil && (!found || v != key) {
			return errors.New("a miss or another value")
		}
		return err
	}
	put1("before")
	old := must(os.ReadFile(path))(t)
	step(stage)
	put1("staged")
	step(promote)
	put1("promoted")
	for _, k := range []string{"before", "staged", "promoted"} {
		if err := opens(k); err != nil {
			t.Errorf("%s, after the promotion: %v", k, err)
		}
	}
	d := must(keyfile.Read(ctx, path, p, nil))(t)
	want := must(must(d.MasterKey(d.Keys()[1].ID))(t).Fingerprint("default"))(t)
	if s := c.Stats(); s.Keys[0].Fingerprint != want || s.Seals != 1 || s.Keys[0].Opened != 1 || s.Keys[1].Opened != 2 {
		t.Errorf("%+v", s)
	}
	good := must(os.ReadFile(path))(t)
	for name, bad := range map[string][]byte{"goes back": old, "not a well-formed": good[:len(good)-5]} {
		put(t, path, bad)
		testenv.Poll(t, 30*time.Second, "the report", func() bool { return log.contains(name) })
		if err := errors.Join(opens("before"), opens("promoted")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	put(t, path, good)
	step(func(d *keyfile.Document) error { return d.Retire(d.Keys()[0].ID, day) })
	if err := opens("promoted"); err != nil {
		t.Error(err)
	}
	if err := opens("before"); !errors.Is(err, secure.ErrAuth) {
		t.Errorf("an entry under a retired key: %v", err)
	}
	if log.contains(phrase) {
		t.Error("the log has the passphrase")
	}
}
