package keyfile_test

import (
	"errors"
	"testing"

	"github.com/cachekit-io/cachekit-go/keys/keyfile"
)

// FuzzFile puts bytes in place of a keyring file, and of the document inside an
// intact protection. What is refused is refused by class; what is taken can be
// written and read again as the same keyring.
func FuzzFile(f *testing.F) {
	clear := keyfile.Cleartext()
	sealed, err := keyfile.QuickPassphrase(phrase)
	if err != nil {
		f.Fatal(err)
	}
	d := fresh()
	for _, p := range []*keyfile.Protection{clear, sealed} {
		file, err := d.Bytes(p, 7)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file)
		f.Add(file[:len(file)/2])
	}
	if inner, err := d.Plain("passphrase", 7); err == nil {
		f.Add(inner)
	}
	for _, text := range []string{"", "{}", `{"format":"cachekit-keyring","version":2}`, "[[[[", `{"keys":[{}],"KEYS":[]}`, "null"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		again(t, clear, text)
		_, _ = sealed.Open(text)
		if wrapped, err := sealed.Seal(text); err == nil {
			again(t, sealed, wrapped)
		}
	})
}

func again(t *testing.T, p *keyfile.Protection, file []byte) {
	d, err := p.Open(file)
	if err != nil {
		if !typed(err) && !errors.Is(err, keyfile.ErrVersion) {
			t.Errorf("an error without a class: %v", err)
		}
		return
	}
	out, err := d.Bytes(p, d.Generation())
	if err != nil {
		t.Fatalf("a document that was read cannot be written: %v", err)
	}
	if same, err := p.Open(out); err != nil || same.RingID() != d.RingID() || len(same.Keys()) != len(d.Keys()) {
		t.Errorf("a document that was read and written is another one: %v", err)
	}
}
