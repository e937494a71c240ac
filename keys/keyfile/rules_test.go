package keyfile_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/keys/keyfile"
)

// Rule: times are UTC and to the second, whatever the caller's clock says, and
// every key of an import has the note.
func TestTimesAndNotes(t *testing.T) {
	odd := time.Date(2027, 3, 1, 14, 0, 0, 987654321, time.FixedZone("CEST", 7200))
	d := must(keyfile.NewDocument(must(keys.NewKeyring(keys.Generate(), keys.Generate()))(t), "imported", odd))(t)
	id := must(d.Stage(keys.Generate(), "next", odd.Add(time.Hour)))(t)
	if err := errors.Join(d.Promote(id, odd.Add(2*time.Hour)), d.Retire(d.Keys()[0].ID, odd.Add(3*time.Hour)), d.Destroy(d.Keys()[0].ID, odd.Add(4*time.Hour))); err != nil {
		t.Fatal(err)
	}
	at := func(hours int) time.Time { return day.Add(time.Duration(hours) * time.Hour) }
	want := []keyfile.Key{
		{Role: keyfile.Destroyed, Created: day, Promoted: day, Demoted: at(2), Retired: at(3), Destroyed: at(4), Note: "imported"},
		{Role: keyfile.Demoted, Created: day, Demoted: day, Note: "imported"},
		{Role: keyfile.Current, Created: at(1), Promoted: at(2), Note: "next"},
	}
	for i, k := range d.Keys() {
		if want[i].ID = k.ID; k != want[i] {
			t.Errorf("key %d is %+v, want %+v", i, k, want[i])
		}
	}
	if d.Written() != day {
		t.Errorf("written at %v", d.Written())
	}
}

// Rule: the last demoted first, by the times of the file; of two at the same
// time the one that came last.
func TestDemotedKeysAreInOrder(t *testing.T) {
	for _, tc := range []struct {
		hours []int // at which keys 0, 1 and 2 are demoted
		want  []int
	}{{[]int{1, 2, 3}, []int{3, 2, 1, 0}}, {[]int{3, 2, 1}, []int{3, 0, 1, 2}}, {[]int{1, 1, 1}, []int{3, 2, 1, 0}}} {
		d := newDoc(t)
		for _, h := range tc.hours {
			id := must(d.Stage(keys.Generate(), "", day))(t)
			if err := d.Promote(id, day.Add(time.Duration(h)*time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		got := must(must(d.Keyring())(t).Fingerprints("acme"))(t)
		for i, n := range tc.want {
			if f := must(must(d.MasterKey(d.Keys()[n].ID))(t).Fingerprint("acme"))(t); got[i] != f {
				t.Errorf("demoted at %v: key %d is not at place %d", tc.hours, n, i)
			}
		}
	}
}

// Rule: the keyset holds HkdfPrfKeys of 32 to 1024 bytes with SHA-256 and no
// salt; another one would derive other keys elsewhere.
func TestKeysOfTheKeyset(t *testing.T) {
	field := func(tag byte, b []byte) []byte {
		n := []byte{byte(len(b))}
		if len(b) > 127 {
			n = []byte{byte(len(b)) | 0x80, byte(len(b) >> 7)}
		}
		return append(append([]byte{tag}, n...), b...)
	}
	sha256, sha512, salted := []byte{8, 3}, []byte{8, 4}, append([]byte{8, 3}, field(0x12, []byte("salt"))...)
	good := must(newDoc(t).Plain("cleartext", 1))(t)
	for rule, tc := range map[string]struct {
		params []byte
		bytes  int
	}{"31 bytes": {sha256, 31}, "1025 bytes": {sha256, 1025}, "SHA-512": {sha512, 32}, "a salt": {salted, 32}} {
		var o object
		if err := json.Unmarshal(good, &o); err != nil {
			t.Fatal(err)
		}
		b := bytes.Repeat([]byte{7}, tc.bytes)
		keysetKeys(o)[0].(object)["keyData"].(object)["value"] = base64.StdEncoding.EncodeToString(append(field(0x12, tc.params), field(0x1a, b)...))
		o["keys"].([]any)[0].(object)["id"] = keyfile.KeyID(b)
		if _, err := clearText.Open(must(json.Marshal(o))(t)); !errors.Is(err, keyfile.ErrFormat) {
			t.Errorf("%s: %v", rule, err)
		}
	}
	for n, ok := range map[int]bool{1024: true, 1025: false} {
		if _, err := newDoc(t).Stage(must(keys.Hex(strings.Repeat("ab", n)))(t), "", day); (err == nil) != ok {
			t.Errorf("a key of %d bytes: %v", n, err)
		}
	}
}

var clearText = keyfile.Cleartext()

// Rule: what is around the sealed bytes, and the document in them, are checked
// each for itself.
func TestOuterAndInnerAreChecked(t *testing.T) {
	p := must(keyfile.QuickPassphrase(phrase))(t)
	file, plain := string(must(newDoc(t).Bytes(p, 1))(t)), string(must(newDoc(t).Plain("passphrase", 1))(t))
	inside := func(old, new string) string {
		text := strings.Replace(plain, old, new, 1)
		return string(must(p.Seal([]byte(text)))(t))
	}
	for rule, tc := range map[string]struct {
		file string
		want error
	}{
		"as it is":                  {file, nil},
		"outside: version 0":        {strings.Replace(file, `"version":1`, `"version":0`, 1), keyfile.ErrFormat},
		"outside: version 2":        {strings.Replace(file, `"version":1`, `"version":2`, 1), keyfile.ErrVersion},
		"outside: an unknown field": {strings.Replace(file, `"version":1`, `"version":1,"x":1`, 1), keyfile.ErrFormat},
		"outside: a name twice":     {strings.Replace(file, `"version":1`, `"version":1,"Sealed":"AA=="`, 1), keyfile.ErrFormat},
		"outside: a KMS key":        {strings.Replace(file, `"version":1`, `"version":1,"kek_uri":"x"`, 1), keyfile.ErrProtection},
		"outside: more than 1 MiB":  {strings.Repeat(" ", keyfile.MaxFileBytes) + file, keyfile.ErrFormat},
		"inside: version 2":         {inside(`"version":1`, `"version":2`), keyfile.ErrFormat},
		"inside: another format":    {inside(`cachekit-keyring`, `cachekit-keyrinG`), keyfile.ErrFormat},
		"inside: recipients":        {inside(`"version":1`, `"version":1,"recipients":["age1"]`), keyfile.ErrFormat},
		"inside: more than 512 KiB": {inside(`{`, strings.Repeat(" ", keyfile.MaxFileBytes/2)+`{`), keyfile.ErrFormat},
		"inside: nothing":           {string(must(p.Seal(nil))(t)), keyfile.ErrFormat},
	} {
		if d, err := p.Open([]byte(tc.file)); !errors.Is(err, tc.want) || (err == nil) != (d != nil) {
			t.Errorf("%s: got %v, want %v", rule, err, tc.want)
		}
	}
}

// Rule: the bytes of a document are cleared when they have been sealed, and when
// they have been parsed, refused ones too.
func TestDocumentsAreCleared(t *testing.T) {
	var sealed, opened []byte
	next := must(newDoc(t).Plain("age", 1))(t)
	p := keyfile.Custom(
		func(plain []byte) []byte { sealed = plain; return []byte("sealed") },
		func([]byte) []byte { opened = bytes.Clone(next); return opened },
	)
	file := must(newDoc(t).Bytes(p, 1))(t)
	must(p.Open(file))(t)
	cleared := func(b []byte) bool { return len(b) > 0 && len(bytes.Trim(b, "\x00")) == 0 }
	if !cleared(sealed) || !cleared(opened) {
		t.Errorf("cleared after sealing: %t, after opening: %t", cleared(sealed), cleared(opened))
	}
	next = next[:len(next)-9]
	if _, err := p.Open(file); !errors.Is(err, keyfile.ErrFormat) || !cleared(opened) {
		t.Errorf("a broken document is cleared: %t (%v)", cleared(opened), err)
	}
}

// contextKMS notes the context of each call.
type contextKMS struct {
	echoKMS
	seen *[]any
}

type mark struct{}

func (c contextKMS) GetAEAD(string) (tink.AEAD, error) { return c, nil }
func (c contextKMS) EncryptWithContext(ctx context.Context, p, ad []byte) ([]byte, error) {
	*c.seen = append(*c.seen, ctx.Value(mark{}))
	return c.Encrypt(p, ad)
}
func (c contextKMS) DecryptWithContext(ctx context.Context, b, ad []byte) ([]byte, error) {
	*c.seen = append(*c.seen, ctx.Value(mark{}))
	return c.Decrypt(b, ad)
}

// Rule: a KMS client that takes a context gets the caller's.
func TestAKMSGetsTheContext(t *testing.T) {
	var seen []any
	p := must(keyfile.KMS(contextKMS{seen: &seen}, "echo://key"))(t)
	marked := context.WithValue(context.Background(), mark{}, "the caller's")
	path := t.TempDir() + "/ring"
	if err := keyfile.Create(marked, path, p, newDoc(t)); err != nil {
		t.Fatal(err)
	}
	must(keyfile.Read(marked, path, p, nil))(t)
	if fmt.Sprint(seen) != "[the caller's the caller's]" {
		t.Errorf("the KMS saw %v", seen)
	}
}

func TestRolesAsText(t *testing.T) {
	for r := range keyfile.Destroyed + 3 {
		text, err := r.MarshalText()
		var back keyfile.Role
		switch valid := r >= keyfile.Staged && r <= keyfile.Destroyed; {
		case valid && (err != nil || back.UnmarshalText(text) != nil || back != r):
			t.Errorf("role %d: %s, %v", r, text, err)
		case !valid && (!errors.Is(err, keyfile.ErrFormat) || r.String() != "invalid role"):
			t.Errorf("role %d: %s, %v", r, text, err)
		}
	}
}

// Rule: protections copy what they are given.
func TestRecipientsAreCopied(t *testing.T) {
	a, b := identity(t), identity(t)
	to := []string{a.Recipient().String()}
	p := must(keyfile.Age([]byte(a.String()+"\n"+b.String()), to...))(t)
	to[0] = b.Recipient().String()
	if _, err := ageOf(t, a).Open(must(newDoc(t).Bytes(p, 1))(t)); err != nil {
		t.Errorf("who changes the slice changes whom a file is for: %v", err)
	}
	must(keyfile.Passphrase([]byte("twelve bytes")))(t)
}
