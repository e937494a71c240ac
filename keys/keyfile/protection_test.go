package keyfile_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/tink-crypto/tink-go/v2/testing/fakekms"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/cachekit-io/cachekit-go/keys/keyfile"
)

const phrase = "correct horse battery staple"

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func identity(t testing.TB) *age.X25519Identity {
	t.Helper()
	return must(age.GenerateX25519Identity())(t)
}

func ageOf(t testing.TB, id fmt.Stringer, recipients ...string) *keyfile.Protection {
	t.Helper()
	return must(keyfile.Age([]byte(id.String()), recipients...))(t)
}

func fakeKMS(t testing.TB) *keyfile.Protection {
	t.Helper()
	uri := must(fakekms.NewKeyURI())(t)
	return must(keyfile.KMS(must(fakekms.NewClient(uri))(t), uri))(t)
}

// pair is a protection and another of the same kind that must not open its files.
type pair struct {
	kind         string
	right, wrong *keyfile.Protection
	wrongIs      error
}

func pairs(t testing.TB) []pair {
	hybrid := must(age.GenerateHybridIdentity())(t)
	return []pair{
		{"passphrase", must(keyfile.QuickPassphrase(phrase))(t), must(keyfile.QuickPassphrase(phrase + " "))(t), keyfile.ErrProtection},
		{"age", ageOf(t, identity(t)), ageOf(t, identity(t)), keyfile.ErrProtection},
		{"age", ageOf(t, hybrid), ageOf(t, identity(t)), keyfile.ErrProtection},
		{"kms", fakeKMS(t), fakeKMS(t), keyfile.ErrProtection},
	}
}

func TestProtectionsOpenWhatTheySealed(t *testing.T) {
	ctx := context.Background()
	for _, p := range append(pairs(t), pair{kind: "cleartext", right: keyfile.Cleartext()}) {
		path := filepath.Join(t.TempDir(), "ring")
		d := newDoc(t)
		if err := keyfile.Create(ctx, path, p.right, d); err != nil {
			t.Fatalf("%s: %v", p.kind, err)
		}
		got, err := keyfile.Read(ctx, path, p.right, nil)
		if err != nil || got.Protection() != p.kind || got.RingID() != d.RingID() || got.Generation() != 1 {
			t.Fatalf("%s: read %v, %v", p.kind, got.Keys(), err)
		}
		want, _, _ := d.Export()
		if current, _, err := got.Export(); err != nil || current != want {
			t.Errorf("%s: the key is another one (%v)", p.kind, err)
		}
		kind, _, err := keyfile.Probe(path, nil)
		if err != nil || kind != p.kind {
			t.Errorf("probe: %q, %v, want %q", kind, err, p.kind)
		}
		text, _ := os.ReadFile(path)
		if shown := bytes.Contains(text, []byte(`"keyset"`)); shown != (p.kind == "cleartext") {
			t.Errorf("%s: the file shows its keyset: %v", p.kind, shown)
		}
		if p.wrong == nil {
			continue
		}
		if d, err := keyfile.Read(ctx, path, p.wrong, nil); !errors.Is(err, p.wrongIs) || d != nil {
			t.Errorf("%s: another key of the kind: got %v, want %v", p.kind, err, p.wrongIs)
		}
	}
}

// Rule: a program gets the kind of protection that it asks for, or an error; a
// cleartext file in place of a protected one least of all.
func TestNoKindStandsInForAnother(t *testing.T) {
	all := append(pairs(t), pair{kind: "cleartext", right: keyfile.Cleartext()})
	for _, wrote := range all {
		file := must(newDoc(t).Bytes(wrote.right, 1))(t)
		for _, asks := range all {
			if asks.kind == wrote.kind {
				continue
			}
			if _, err := asks.right.Open(file); !errors.Is(err, keyfile.ErrProtection) {
				t.Errorf("a %s file for who asks for %s: %v", wrote.kind, asks.kind, err)
			}
		}
	}
}

// Rule: a document of one kind is none of another, even under the same key: a
// cleartext document cannot be wrapped, nor a wrapped one stripped.
func TestDocumentsBelongToTheirProtection(t *testing.T) {
	for _, p := range pairs(t) {
		for _, kind := range []string{"passphrase", "age", "kms", "cleartext"} {
			file := must(p.right.Seal(must(newDoc(t).Plain(kind, 1))(t)))(t)
			if _, err := p.right.Open(file); (err == nil) != (kind == p.kind) || err != nil && !errors.Is(err, keyfile.ErrFormat) {
				t.Errorf("a document of kind %s in a %s file: %v", kind, p.kind, err)
			}
		}
	}
}

func TestTamperedFiles(t *testing.T) {
	for _, p := range pairs(t) {
		file := must(newDoc(t).Bytes(p.right, 1))(t)
		var outer struct {
			Format, Protection string
			Version            int
			KeyURI             string `json:"kek_uri,omitempty"`
			Sealed             []byte
		}
		if err := json.Unmarshal(file, &outer); err != nil {
			t.Fatal(err)
		}
		step := max(1, len(outer.Sealed)/150)
		for i := 0; i < len(outer.Sealed); i += step {
			for name, bad := range map[string][]byte{
				"a flipped bit": flip(outer.Sealed, i), "cut short": outer.Sealed[:i],
			} {
				forged := rewrap(t, file, bad)
				if d, err := p.right.Open(forged); !typed(err) || d != nil {
					t.Fatalf("%s, %s at %d: got %v", p.kind, name, i, err)
				}
			}
		}
		for i := range file {
			if i < len(file)-1 { // the last byte is a line end
				if d, err := p.right.Open(file[:i]); !typed(err) || d != nil {
					t.Fatalf("%s, the file cut at %d: got %v", p.kind, i, err)
				}
			}
		}
	}
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 1
	return b
}

// rewrap puts other sealed bytes into the same outer object.
func rewrap(t testing.TB, file, sealed []byte) []byte {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal(file, &fields); err != nil {
		t.Fatal(err)
	}
	fields["sealed"] = sealed
	return must(json.Marshal(fields))(t)
}

// typed reports whether err is of a class for bad files.
func typed(err error) bool {
	return errors.Is(err, keyfile.ErrProtection) || errors.Is(err, keyfile.ErrFormat) || errors.Is(err, keyfile.ErrKMS)
}

func TestPassphrases(t *testing.T) {
	for _, text := range []string{"", "short", "eleven byte"} {
		if p, err := keyfile.Passphrase([]byte(text)); !errors.Is(err, keyfile.ErrProtection) || p != nil {
			t.Errorf("%d bytes: got %v", len(text), err)
		}
	}
	text := []byte(phrase)
	p := must(keyfile.Passphrase(text))(t)
	clear(text) // it is the caller's
	quick := must(keyfile.QuickPassphrase(phrase))(t)
	file := must(newDoc(t).Bytes(p, 1))(t)
	if sealed := sealedIn(t, file); !scryptStanza.Match(sealed) || string(scryptStanza.FindSubmatch(sealed)[1]) != "18" {
		t.Error("the work factor of a real file is not 18")
	}
	if _, err := quick.Open(file); err != nil {
		t.Errorf("the passphrase of a real file: %v", err)
	}
	// Rule: a file that asks for more work than ours is refused, not worked on.
	for _, work := range []string{"19", "22", "30"} {
		file := must(newDoc(t).Bytes(quick, 1))(t)
		costly := scryptStanza.ReplaceAll(sealedIn(t, file), []byte("-> scrypt 0123456789abcdefghijkQ "+work+"\n"))
		_, err := quick.Open(rewrap(t, file, costly))
		if !errors.Is(err, keyfile.ErrProtection) || strings.Contains(err.Error(), "another one") {
			t.Errorf("a work factor of 2^%s: %v", work, err)
		}
	}
}

func TestAgeRecipients(t *testing.T) {
	ctx, path := context.Background(), filepath.Join(t.TempDir(), "ring")
	operator, service, other := identity(t), identity(t), identity(t)
	to := []string{operator.Recipient().String(), service.Recipient().String()}
	if err := keyfile.Create(ctx, path, must(keyfile.Age(nil, to...))(t), newDoc(t)); err != nil {
		t.Fatal(err)
	}
	opens := func(id *age.X25519Identity) bool {
		_, err := keyfile.Read(ctx, path, ageOf(t, id), nil)
		if err != nil && !errors.Is(err, keyfile.ErrProtection) {
			t.Fatal(err)
		}
		return err == nil
	}
	if !opens(operator) || !opens(service) || opens(other) {
		t.Error("the file opens for others than its recipients")
	}
	if _, err := keyfile.Read(ctx, path, must(keyfile.Age(nil, to...))(t), nil); !errors.Is(err, keyfile.ErrProtection) {
		t.Errorf("without an identity: %v", err)
	}
	// Rule: a write that names no recipients keeps those of the file.
	nothing := func(*keyfile.Document) error { return nil }
	if err := keyfile.Update(ctx, path, ageOf(t, operator), nothing); err != nil || !opens(service) || !opens(operator) {
		t.Errorf("after an update by one of them: %v", err)
	}
	// Rule: nobody locks himself out.
	before, _ := os.ReadFile(path)
	err := keyfile.Update(ctx, path, ageOf(t, operator, other.Recipient().String()), nothing)
	if after, _ := os.ReadFile(path); !errors.Is(err, keyfile.ErrProtection) || !bytes.Equal(before, after) {
		t.Errorf("recipients without oneself: %v", err)
	}
	// Rule: a write that names recipients writes to those.
	to = []string{operator.Recipient().String(), other.Recipient().String()}
	if err := keyfile.Update(ctx, path, ageOf(t, operator, to...), nothing); err != nil || opens(service) || !opens(other) {
		t.Errorf("after the recipients were replaced: %v", err)
	}
	for name, bad := range map[string]error{
		"no identity":  second(keyfile.Age([]byte("AGE-SECRET-KEY-1NONSENSE"))),
		"no recipient": second(keyfile.Age(nil, "age1nonsense")),
		"a comment":    second(keyfile.Age(nil, "# "+to[0])),
		"one of two":   second(keyfile.Age(nil, to[0], "# none")),
		"two in one":   second(keyfile.Age(nil, to[0]+"\n"+to[1])),
		"65 of them":   second(keyfile.Age(nil, strings.Split(strings.Repeat(to[0]+" ", 64)+to[0], " ")...)),
	} {
		if !errors.Is(bad, keyfile.ErrProtection) {
			t.Errorf("%s: %v", name, bad)
		}
	}
}

var scryptStanza = regexp.MustCompile(`-> scrypt [^ ]+ ([0-9]+)\n`)

func sealedIn(t testing.TB, file []byte) []byte {
	t.Helper()
	var outer struct{ Sealed []byte }
	if err := json.Unmarshal(file, &outer); err != nil {
		t.Fatal(err)
	}
	return outer.Sealed
}

func second[T any](_ T, err error) error { return err }

func TestProtectionCanBeChanged(t *testing.T) {
	ctx, path := context.Background(), filepath.Join(t.TempDir(), "ring")
	all := append(pairs(t), pair{kind: "cleartext", right: keyfile.Cleartext()})
	if err := keyfile.Create(ctx, path, all[0].right, newDoc(t)); err != nil {
		t.Fatal(err)
	}
	for i, next := range all[1:] {
		err := keyfile.Update(ctx, path, all[i].right, func(d *keyfile.Document) error {
			d.Protect(next.right)
			return nil
		})
		if err != nil {
			t.Fatalf("from %s to %s: %v", all[i].kind, next.kind, err)
		}
		d, err := keyfile.Read(ctx, path, next.right, nil)
		if err != nil || d.Protection() != next.kind || d.Generation() != uint64(i)+2 {
			t.Fatalf("from %s to %s: %v", all[i].kind, next.kind, err)
		}
	}
}

// brokenKMS is a client whose key answers with an error that says too much.
type brokenKMS struct{ err error }

func (brokenKMS) Supported(uri string) bool             { return uri == "broken://key" }
func (b brokenKMS) GetAEAD(string) (tink.AEAD, error)   { return b, nil }
func (b brokenKMS) Encrypt(_, _ []byte) ([]byte, error) { return nil, b.err }
func (b brokenKMS) Decrypt(_, _ []byte) ([]byte, error) { return nil, b.err }

type codedError struct{ code string }

func (codedError) Error() string       { return "request body: hunter2" }
func (c codedError) ErrorCode() string { return c.code }

func TestErrorsOfAKMS(t *testing.T) {
	for _, tc := range []struct {
		cause error
		shows string
	}{
		{codedError{"AccessDeniedException"}, "AccessDeniedException"},
		{codedError{"hunter2 in the code"}, "codedError"},
		{errors.New("hunter2"), "errors"},
		{context.DeadlineExceeded, "in time"},
	} {
		p := must(keyfile.KMS(brokenKMS{tc.cause}, "broken://key"))(t)
		_, err := newDoc(t).Bytes(p, 1)
		if !errors.Is(err, keyfile.ErrKMS) || !errors.Is(err, tc.cause) {
			t.Errorf("%v: got %v, want ErrKMS with the cause", tc.cause, err)
		}
		if text := err.Error(); strings.Contains(text, "hunter2") || !strings.Contains(text, tc.shows) {
			t.Errorf("the text is %q", text)
		}
	}
	if p, err := keyfile.KMS(brokenKMS{}, "other://key"); !errors.Is(err, keyfile.ErrKMS) || p != nil {
		t.Errorf("a URI that the client does not support: %v", err)
	}
	if p, err := keyfile.KMS(nil, "broken://key"); !errors.Is(err, keyfile.ErrKMS) || p != nil {
		t.Errorf("no client: %v", err)
	}
}
