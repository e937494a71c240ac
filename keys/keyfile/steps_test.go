package keyfile_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/keys/keyfile"
)

// withEveryRole returns a document with one key of each role, in that order:
// destroyed, retired, demoted, current, staged.
func withEveryRole(t testing.TB) *keyfile.Document {
	t.Helper()
	d, err := keyfile.NewDocument(must(keys.NewKeyring(keys.Generate()))(t), "", day)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		id := must(d.Stage(keys.Generate(), fmt.Sprint("key ", i+2), day))(t)
		if i < 3 {
			if err := d.Promote(id, day.Add(time.Duration(i)*time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		if i == 1 {
			if err := d.Retire(d.Keys()[0].ID, day); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, step := range []error{
		d.Retire(d.Keys()[1].ID, day), d.Destroy(d.Keys()[0].ID, day),
	} {
		if step != nil {
			t.Fatal(step)
		}
	}
	if got := roles(d); got != "drdcs" {
		t.Fatalf("roles %s", got)
	}
	return d
}

// Rule: a key goes one way. Every step on every role, and nothing has changed
// after a refusal.
func TestStepsAndRoles(t *testing.T) {
	steps := []struct {
		name  string
		do    func(*keyfile.Document, string) error
		legal map[keyfile.Role]keyfile.Role
	}{
		{"promote", func(d *keyfile.Document, id string) error { return d.Promote(id, day) }, map[keyfile.Role]keyfile.Role{keyfile.Staged: keyfile.Current}},
		{"retire", func(d *keyfile.Document, id string) error { return d.Retire(id, day) }, map[keyfile.Role]keyfile.Role{keyfile.Staged: keyfile.Retired, keyfile.Demoted: keyfile.Retired}},
		{"destroy", func(d *keyfile.Document, id string) error { return d.Destroy(id, day) }, map[keyfile.Role]keyfile.Role{keyfile.Retired: keyfile.Destroyed}},
	}
	for _, step := range steps {
		for i := range 5 {
			d := withEveryRole(t)
			k := d.Keys()[i]
			before := fmt.Sprint(d.Keys(), plain(t, d))
			err := step.do(d, k.ID)
			want, legal := step.legal[k.Role]
			switch {
			case legal && (err != nil || d.Keys()[i].Role != want):
				t.Errorf("%s a %s key: %v, now %s", step.name, k.Role, err, d.Keys()[i].Role)
			case !legal && !errors.Is(err, keyfile.ErrTransition):
				t.Errorf("%s a %s key: got %v, want ErrTransition", step.name, k.Role, err)
			case !legal && fmt.Sprint(d.Keys(), plain(t, d)) != before:
				t.Errorf("%s a %s key: refused, and yet the document changed", step.name, k.Role)
			}
			plain(t, d) // what a step leaves is valid
		}
		d := withEveryRole(t)
		for _, id := range []string{"", "00", d.Keys()[0].ID[:63], strings.ToUpper(d.Keys()[0].ID) + " "} {
			if err := step.do(d, id); !errors.Is(err, keyfile.ErrTransition) || !strings.Contains(err.Error(), "no key of that id") {
				t.Errorf("%s an unknown key: got %v, want ErrTransition, unknown", step.name, err)
			}
		}
	}
}

// plain returns the document without its keyset, whose text Tink varies.
func plain(t *testing.T, d *keyfile.Document) string {
	t.Helper()
	text := string(must(d.Plain("cleartext", 1))(t))
	before, _, _ := strings.Cut(text, `"keyset"`)
	return before
}

func TestStage(t *testing.T) {
	d := withEveryRole(t)
	known := make(map[keyfile.Role]keys.MasterKey)
	for _, k := range d.Keys() {
		if k.Role != keyfile.Destroyed {
			known[k.Role] = must(d.MasterKey(k.ID))(t)
		}
	}
	if _, err := d.Stage(keys.Generate(), "", day); !errors.Is(err, keyfile.ErrTransition) {
		t.Errorf("a second staged key: %v", err)
	}
	if err := d.Retire(d.Keys()[4].ID, day); err != nil {
		t.Fatal(err)
	}
	for role, want := range map[keyfile.Role]error{
		keyfile.Current: keys.ErrCurrentRepeated, keyfile.Demoted: keys.ErrKeyRepeated,
		keyfile.Retired: keys.ErrKeyRepeated, keyfile.Staged: keys.ErrKeyRepeated,
	} {
		if id, err := d.Stage(known[role], "", day); !errors.Is(err, want) || id != "" {
			t.Errorf("the %s key again: got %v, want %v", role, err, want)
		}
	}
	for note, ok := range map[string]bool{
		"": true, "2027, ticket 12, é": true, strings.Repeat("x", 256): true,
		strings.Repeat("x", 257): false, "two\nlines": false, "\x1b[31m": false, "\xff": false,
	} {
		d := newDoc(t)
		if _, err := d.Stage(keys.Generate(), note, day); (err == nil) != ok || err != nil && !errors.Is(err, keyfile.ErrTransition) {
			t.Errorf("a note of %d bytes: %v", len(note), err)
		}
	}
	if _, err := newDoc(t).Stage(keys.MasterKey{}, "", day); !errors.Is(err, keys.ErrNoKey) {
		t.Errorf("no key: %v", err)
	}
}

// Rule: tombstones outlive their keys, and a destroyed key never comes back.
func TestDestroyedKeysStayOut(t *testing.T) {
	d, k := newDoc(t), keys.Generate()
	id := must(d.Stage(k, "", day))(t)
	if err := errors.Join(d.Retire(id, day), d.Destroy(id, day)); err != nil {
		t.Fatal(err)
	}
	p := must(keyfile.QuickPassphrase(phrase))(t)
	d = must(p.Open(must(d.Bytes(p, 5))(t)))(t)
	if _, err := d.Stage(k, "", day); !errors.Is(err, keys.ErrKeyRepeated) || !strings.Contains(err.Error(), "destroyed in this file") {
		t.Errorf("a destroyed key is staged again: %v", err)
	}
	if text := string(must(d.Plain("cleartext", 6))(t)); strings.Count(text, `"typeUrl"`) != 1 {
		t.Error("the keyset still has the bytes of a destroyed key")
	}
}

func TestAFifthKeyIsRefused(t *testing.T) {
	three := []keys.MasterKey{keys.Generate(), keys.Generate(), keys.Generate()}
	d := newDoc(t, three...)
	if _, err := d.Stage(keys.Generate(), "", day); !errors.Is(err, keys.ErrTooManyKeys) {
		t.Errorf("a fifth key: %v", err)
	}
	if err := d.Retire(d.Keys()[1].ID, day); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Stage(keys.Generate(), "", day); err != nil {
		t.Errorf("a fourth key in use: %v", err)
	}
}

// Rule: the file holds 256 keys and no more, tombstones included, and fits.
func TestAFileHas256Keys(t *testing.T) {
	d := newDoc(t)
	note := strings.Repeat("é", 128)
	for range 255 {
		id := must(d.Stage(keys.Generate(), note, day))(t)
		if err := d.Retire(id, day); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Stage(keys.Generate(), note, day); !errors.Is(err, keyfile.ErrTransition) {
		t.Errorf("key 257: %v", err)
	}
	p := ageOf(t, identity(t))
	file := must(d.Bytes(p, 1))(t)
	if got := must(p.Open(file))(t); len(got.Keys()) != 256 || len(file) > keyfile.MaxFileBytes {
		t.Errorf("%d keys in %d bytes", len(got.Keys()), len(file))
	}
}

// Rule: current, then staged, then demoted, the last demoted first.
func TestOrderOfTheKeyring(t *testing.T) {
	d := withEveryRole(t)
	want := ""
	for _, i := range []int{3, 4, 2} {
		k := must(d.MasterKey(d.Keys()[i].ID))(t)
		want += must(k.Fingerprint("acme"))(t).String()
	}
	got := ""
	for _, f := range must(must(d.Keyring())(t).Fingerprints("acme"))(t) {
		got += f.String()
	}
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestImportAndExport(t *testing.T) {
	long := must(keys.Hex(strings.Repeat("ab", 48)))(t)
	current, old := keys.Generate(), keys.Generate()
	ring := must(keys.NewKeyring(current, old, long))(t)
	d := must(keyfile.NewDocument(ring, "imported", day))(t)
	if roles(d) != "cdd" || d.Keys()[1].Promoted != (time.Time{}) || d.Keys()[1].Demoted != day {
		t.Errorf("imported as %+v", d.Keys())
	}
	p := must(keyfile.QuickPassphrase(phrase))(t)
	d = must(p.Open(must(d.Bytes(p, 1))(t)))(t)
	c, previous, err := d.Export()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(keys.EnvMasterKey, c)
	t.Setenv(keys.EnvPreviousMasterKeys, previous)
	again := must(keys.Environment{}.Keyring(t.Context()))(t)
	want, _ := ring.Fingerprints("default")
	got, _ := again.Fingerprints("default")
	if got[0] != want[0] || len(got) != 3 {
		t.Errorf("through the file and the variables: %v, want %v", got, want)
	}
	for _, w := range want {
		if !strings.Contains(fmt.Sprint(got), w.String()) {
			t.Errorf("%v is lost", w)
		}
	}
	alone := newDoc(t)
	if _, previous, err := alone.Export(); err != nil || previous != "" {
		t.Errorf("one key alone: %v, previous of %d bytes", err, len(previous))
	}
	if _, err := keyfile.NewDocument(nil, "", day); !errors.Is(err, keys.ErrNoKey) {
		t.Errorf("no keyring: %v", err)
	}
	if _, err := keyfile.NewDocument(ring, "\n", day); !errors.Is(err, keyfile.ErrTransition) {
		t.Errorf("a bad note: %v", err)
	}
	huge := must(keys.Hex(strings.Repeat("ab", 1025)))(t)
	if _, err := alone.Stage(huge, "", day); !errors.Is(err, keyfile.ErrTransition) {
		t.Errorf("a key of 1025 bytes: %v", err)
	}
}
