//go:build linux

package keyfile_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/keys/keyfile"
	"github.com/cachekit-io/cachekit-go/secure"
)

// environment sets the variables given and unsets the others.
func environment(t *testing.T, set map[string]string) {
	t.Helper()
	for _, name := range []string{
		keyfile.EnvKeyring, keyfile.EnvPassphraseFile, keyfile.EnvIdentityFile, keys.EnvMasterKey, keys.EnvPreviousMasterKeys,
	} {
		t.Setenv(name, set[name]) // so that it is restored
		if _, ok := set[name]; !ok {
			os.Unsetenv(name)
		}
	}
}

func secretFile(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFromEnv(t *testing.T) {
	id := identity(t)
	aged, phrased := filepath.Join(t.TempDir(), "aged"), filepath.Join(t.TempDir(), "phrased")
	for path, p := range map[string]*keyfile.Protection{aged: ageOf(t, id), phrased: must(keyfile.QuickPassphrase(phrase))(t)} {
		if err := keyfile.Create(ctx, path, p, newDoc(t)); err != nil {
			t.Fatal(err)
		}
	}
	idFile := secretFile(t, "# created by somebody\n"+id.String()+"\n")
	phraseFile := secretFile(t, phrase+"\n")
	open := secretFile(t, phrase)
	os.Chmod(open, 0o644)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(phraseFile, link); err != nil {
		t.Fatal(err)
	}
	hex := strings.Repeat("ab", 32)
	const ring, pass, ident = keyfile.EnvKeyring, keyfile.EnvPassphraseFile, keyfile.EnvIdentityFile
	for _, tc := range []struct {
		rule string
		set  map[string]string
		want error
		says string
	}{
		{"a passphrase file", map[string]string{ring: phrased, pass: phraseFile}, nil, ""},
		{"its line end may be that of Windows", map[string]string{ring: phrased, pass: secretFile(t, phrase+"\r\n")}, nil, ""},
		{"or missing", map[string]string{ring: phrased, pass: secretFile(t, phrase)}, nil, ""},
		{"only one of them goes", map[string]string{ring: phrased, pass: secretFile(t, phrase+"\n\n")}, keyfile.ErrProtection, "passphrase"},
		{"an identity file", map[string]string{ring: aged, ident: idFile}, nil, ""},
		{"previous keys switched off", map[string]string{ring: aged, ident: idFile, keys.EnvPreviousMasterKeys: " "}, nil, ""},
		{"no file", map[string]string{pass: phraseFile}, keys.ErrEnvironment, ring},
		{"an empty file name", map[string]string{ring: "", pass: phraseFile}, keys.ErrEnvironment, ring},
		{"nothing that opens it", map[string]string{ring: phrased}, keys.ErrEnvironment, pass},
		{"two things that open it", map[string]string{ring: phrased, pass: phraseFile, ident: idFile}, keys.ErrEnvironment, "unset one"},
		{"an empty variable", map[string]string{ring: phrased, pass: " "}, keys.ErrEnvironment, "empty"},
		{"a master key beside it", map[string]string{ring: aged, ident: idFile, keys.EnvMasterKey: hex}, keys.ErrEnvironment, keys.EnvMasterKey},
		{"an empty one too", map[string]string{ring: aged, ident: idFile, keys.EnvMasterKey: ""}, keys.ErrEnvironment, keys.EnvMasterKey},
		{"previous keys beside it", map[string]string{ring: aged, ident: idFile, keys.EnvPreviousMasterKeys: hex}, keys.ErrEnvironment, keys.EnvPreviousMasterKeys},
		{"a passphrase that others may read", map[string]string{ring: phrased, pass: open}, keyfile.ErrUnsafe, "chmod 600"},
		{"a passphrase behind a link", map[string]string{ring: phrased, pass: link}, keyfile.ErrUnsafe, "link"},
		{"a passphrase too large", map[string]string{ring: phrased, pass: secretFile(t, strings.Repeat("x", 65537))}, keyfile.ErrUnsafe, "more than"},
		{"another passphrase", map[string]string{ring: phrased, pass: secretFile(t, "another passphrase")}, keyfile.ErrProtection, "passphrase"},
		{"no passphrase in the file", map[string]string{ring: phrased, pass: secretFile(t, "\n")}, keys.ErrEnvironment, "at least 12"},
		{"no identity in the file", map[string]string{ring: aged, ident: phraseFile}, keys.ErrEnvironment, "AGE-SECRET-KEY"},
		{"the other kind", map[string]string{ring: aged, pass: phraseFile}, keyfile.ErrProtection, "age"},
	} {
		environment(t, tc.set)
		got, err := keyfile.FromEnv(nil).Keyring(ctx)
		if !errors.Is(err, tc.want) || (err == nil) != (got != nil) || err != nil && !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: got %v, want %v with %q", tc.rule, err, tc.want, tc.says)
		}
		if err != nil && (strings.Contains(err.Error(), phrase) || strings.Contains(err.Error(), hex)) {
			t.Errorf("%s: the error says too much", tc.rule)
		}
	}
}

// Rule: passphrase and file may change together while a program runs, and one
// content is opened once.
func TestFromEnvFollowsBothFiles(t *testing.T) {
	path, pass := filepath.Join(t.TempDir(), "ring"), secretFile(t, phrase)
	p, next := must(keyfile.QuickPassphrase(phrase))(t), must(keyfile.QuickPassphrase("the next passphrase"))(t)
	if err := keyfile.Create(ctx, path, p, newDoc(t)); err != nil {
		t.Fatal(err)
	}
	environment(t, map[string]string{keyfile.EnvKeyring: path, keyfile.EnvPassphraseFile: pass})
	s := keyfile.FromEnv(nil)
	first := must(s.Keyring(ctx))(t)
	if again := must(s.Keyring(ctx))(t); again != first {
		t.Error("another keyring, though nothing has changed")
	}
	update(t, path, p, func(d *keyfile.Document) error { d.Protect(next); return stage(d) })
	if _, err := s.Keyring(ctx); !errors.Is(err, keyfile.ErrProtection) {
		t.Errorf("with the old passphrase: %v", err)
	}
	put(t, pass, []byte("the next passphrase"))
	if second := must(s.Keyring(ctx))(t); second.Len() != 2 {
		t.Errorf("with the new one: %d keys", second.Len())
	}
}

// Rule: CACHEKIT_KEYRING alone is no silent way past the file; the error names
// the call that reads it.
func TestSecureNamesFromEnv(t *testing.T) {
	environment(t, map[string]string{keyfile.EnvKeyring: "/somewhere", keys.EnvMasterKey: strings.Repeat("ab", 32)})
	_, err := secure.New(ctx, &secure.Options{L1Only: true})
	if !errors.Is(err, secure.ErrConfig) || !strings.Contains(err.Error(), "keyfile.FromEnv") {
		t.Errorf("got %v", err)
	}
	_, err = secure.New(ctx, &secure.Options{L1Only: true, Keyring: keyfile.FromEnv(nil)})
	if !errors.Is(err, secure.ErrConfig) || !errors.Is(err, keys.ErrEnvironment) {
		t.Errorf("got %v", err)
	}
}
