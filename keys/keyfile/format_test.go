package keyfile_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/keys/keyfile"
)

type object = map[string]any

// edited returns the cleartext file of a document with every role, after edit
// worked on its fields. Its keys are destroyed, retired, demoted, current and
// staged.
func edited(t testing.TB, edit func(o object, ks []object)) []byte {
	t.Helper()
	var o object
	dec := json.NewDecoder(bytes.NewReader(must(withEveryRole(t).Plain("cleartext", 7))(t)))
	dec.UseNumber()
	if err := dec.Decode(&o); err != nil {
		t.Fatal(err)
	}
	var ks []object
	for _, k := range o["keys"].([]any) {
		ks = append(ks, k.(object))
	}
	edit(o, ks)
	return must(json.Marshal(o))(t)
}

func keysetOf(o object) object { return o["keyset"].(object) }

func keysetKeys(o object) []any { return keysetOf(o)["key"].([]any) }

// Rule: what contradicts itself is refused, whoever wrote it.
func TestMalformedDocuments(t *testing.T) {
	const destroyed, retired, demoted, current, staged = 0, 1, 2, 3, 4
	zeros := strings.Repeat("0", 64)
	for rule, tc := range map[string]struct {
		edit func(o object, ks []object)
		want error
	}{
		"as it is":               {func(o object, ks []object) {}, nil},
		"a note may be left out": {func(o object, ks []object) { delete(ks[current], "note") }, nil},
		"another kind of file":   {func(o object, ks []object) { o["format"] = "something" }, keyfile.ErrFormat},
		"no format":              {func(o object, ks []object) { delete(o, "format") }, keyfile.ErrFormat},
		"the next version":       {func(o object, ks []object) { o["version"] = 2 }, keyfile.ErrVersion},
		"the next version, all different": {func(o object, ks []object) {
			clear(o)
			o["format"], o["version"], o["x"] = "cachekit-keyring", 2, object{}
		}, keyfile.ErrVersion},
		"the next version, other types": {func(o object, ks []object) { o["version"], o["protection"] = 2, 7 }, keyfile.ErrVersion},
		"version 0":                     {func(o object, ks []object) { o["version"] = 0 }, keyfile.ErrFormat},
		"an unknown protection":         {func(o object, ks []object) { o["protection"] = "rot13" }, keyfile.ErrVersion},
		"an unknown field":              {func(o object, ks []object) { o["more"] = 1 }, keyfile.ErrFormat},
		"an unknown field of a key":     {func(o object, ks []object) { ks[current]["more"] = 1 }, keyfile.ErrFormat},
		"generation 0":                  {func(o object, ks []object) { o["generation"] = 0 }, keyfile.ErrFormat},
		"a negative generation":         {func(o object, ks []object) { o["generation"] = -1 }, keyfile.ErrFormat},
		"a generation past 2^53":        {func(o object, ks []object) { o["generation"] = keyfile.MaxGeneration + 1 }, keyfile.ErrFormat},
		"the last generation":           {func(o object, ks []object) { o["generation"] = keyfile.MaxGeneration }, nil},
		"no id":                         {func(o object, ks []object) { delete(o, "keyring") }, keyfile.ErrFormat},
		"an id in capitals":             {func(o object, ks []object) { o["keyring"] = strings.Repeat("AB", 16) }, keyfile.ErrFormat},
		"no time":                       {func(o object, ks []object) { delete(o, "written_at") }, keyfile.ErrFormat},
		"recipients without age":        {func(o object, ks []object) { o["recipients"] = []string{"age1"} }, keyfile.ErrFormat},
		"no keys":                       {func(o object, ks []object) { o["keys"] = []any{} }, keyfile.ErrFormat},
		"no keyset":                     {func(o object, ks []object) { delete(o, "keyset") }, keyfile.ErrFormat},
		"an empty keyset":               {func(o object, ks []object) { o["keyset"] = object{} }, keyfile.ErrFormat},
		"an unknown role":               {func(o object, ks []object) { ks[staged]["role"] = "revered" }, keyfile.ErrFormat},
		"no role":                       {func(o object, ks []object) { delete(ks[staged], "role") }, keyfile.ErrFormat},
		"two current keys": {func(o object, ks []object) {
			ks[staged]["role"], ks[staged]["promoted_at"] = "current", "2027-01-01T00:00:00Z"
		}, keyfile.ErrFormat},
		"no current key": {func(o object, ks []object) {
			ks[current]["role"], ks[current]["demoted_at"] = "demoted", "2027-01-01T00:00:00Z"
		}, keyfile.ErrFormat},
		"two staged keys":               {func(o object, ks []object) { ks[demoted]["role"] = "staged" }, keyfile.ErrFormat},
		"a retired key that is enabled": {func(o object, ks []object) { ks[retired]["role"] = "demoted" }, keyfile.ErrFormat},
		"an enabled key that is retired": {func(o object, ks []object) {
			ks[demoted]["role"], ks[demoted]["retired_at"] = "retired", "2027-01-01T00:00:00Z"
		}, keyfile.ErrFormat},
		"another primary key": {func(o object, ks []object) { keysetOf(o)["primaryKeyId"] = ks[staged]["tink_key_id"] }, keyfile.ErrFormat},
		"a tombstone with bytes": {func(o object, ks []object) {
			ks[retired]["role"], ks[retired]["destroyed_at"] = "destroyed", "2027-01-01T00:00:00Z"
		}, keyfile.ErrFormat},
		"a tombstone without an id": {func(o object, ks []object) { ks[destroyed]["id"] = "" }, keyfile.ErrFormat},
		"a tombstone that is back": {func(o object, ks []object) {
			ks[destroyed]["role"], ks[destroyed]["demoted_at"] = "demoted", "2027-01-01T00:00:00Z"
		}, keyfile.ErrFormat},
		"a key without its time":        {func(o object, ks []object) { delete(ks[current], "promoted_at") }, keyfile.ErrFormat},
		"a time that is none":           {func(o object, ks []object) { ks[current]["created_at"] = "yesterday" }, keyfile.ErrFormat},
		"an id that is not the key's":   {func(o object, ks []object) { ks[current]["id"] = zeros }, keyfile.ErrFormat},
		"the ids of two keys exchanged": {func(o object, ks []object) { ks[current]["id"], ks[staged]["id"] = ks[staged]["id"], ks[current]["id"] }, keyfile.ErrFormat},
		"one key under two ids":         {func(o object, ks []object) { ks[staged]["tink_key_id"] = ks[demoted]["tink_key_id"] }, keyfile.ErrFormat},
		"a key twice":                   {func(o object, ks []object) { o["keys"] = append(o["keys"].([]any), ks[demoted]) }, keyfile.ErrFormat},
		"a key without a role":          {func(o object, ks []object) { o["keys"] = o["keys"].([]any)[:4] }, keyfile.ErrFormat},
		"a key without bytes":           {func(o object, ks []object) { keysetOf(o)["key"] = keysetKeys(o)[:3] }, keyfile.ErrFormat},
		"a key without its first time":  {func(o object, ks []object) { delete(ks[current], "created_at") }, keyfile.ErrFormat},
		"demoted, never said when":      {func(o object, ks []object) { delete(ks[demoted], "demoted_at") }, keyfile.ErrFormat},
		"retired, never said when":      {func(o object, ks []object) { delete(ks[retired], "retired_at") }, keyfile.ErrFormat},
		"destroyed, never said when":    {func(o object, ks []object) { delete(ks[destroyed], "destroyed_at") }, keyfile.ErrFormat},
		"a tombstone twice":             {func(o object, ks []object) { o["keys"] = append(o["keys"].([]any), ks[destroyed]) }, keyfile.ErrFormat},
		"a tombstone of a short id":     {func(o object, ks []object) { ks[destroyed]["id"] = "00" }, keyfile.ErrFormat},
		"a short id":                    {func(o object, ks []object) { o["keyring"] = "00" }, keyfile.ErrFormat},
		"two keys of one Tink id":       {func(o object, ks []object) { keysetOf(o)["key"] = append(keysetKeys(o), keysetKeys(o)[0]) }, keyfile.ErrFormat},
		"a note of two lines":           {func(o object, ks []object) { ks[current]["note"] = "a\nb" }, keyfile.ErrFormat},
		"a key of another type":         {func(o object, ks []object) { retype(keysetKeys(o)[0]) }, keyfile.ErrFormat},
		"more than 256 keys": {func(o object, ks []object) {
			for i := range 252 {
				o["keys"] = append(o["keys"].([]any), object{
					"id": fmt.Sprintf("%064x", i), "role": "destroyed", "created_at": "2027-01-01T00:00:00Z", "destroyed_at": "2027-01-01T00:00:00Z",
				})
			}
		}, keyfile.ErrFormat},
	} {
		d, err := keyfile.Cleartext().Open(edited(t, tc.edit))
		if !errors.Is(err, tc.want) || (err == nil) != (d != nil) {
			t.Errorf("%s: got %v, want %v", rule, err, tc.want)
		}
	}
}

// retype makes an AES-GCM key of a key.
func retype(key any) {
	data := key.(object)["keyData"].(object)
	data["typeUrl"], data["value"] = "type.googleapis.com/google.crypto.tink.AesGcmKey", "GhDl1f9TZlZzhZhZ5Xc0p2pG"
}

// Rule: a fifth key in use is refused, wherever the file is from.
func TestAFileWithFiveKeys(t *testing.T) {
	file := edited(t, func(o object, ks []object) {
		ks[1]["role"] = "demoted" // retired before
		for _, k := range keysetKeys(o) {
			k.(object)["status"] = "ENABLED"
		}
	})
	if d, err := keyfile.Cleartext().Open(file); err != nil || must(d.Keyring())(t).Len() != 4 {
		t.Fatalf("four keys in use: %v", err)
	}
	five := newDoc(t, keys.Generate(), keys.Generate(), keys.Generate())
	id := five.Keys()[1].ID
	if err := five.Retire(id, day); err != nil {
		t.Fatal(err)
	}
	must(five.Stage(keys.Generate(), "", day))(t)
	text := string(must(five.Plain("cleartext", 1))(t))
	text = strings.ReplaceAll(text, `"DISABLED"`, `"ENABLED"`)
	text = strings.Replace(text, `"role":"retired"`, `"role":"demoted"`, 1)
	if d, err := keyfile.Cleartext().Open([]byte(text)); !errors.Is(err, keyfile.ErrFormat) || !errors.Is(err, keys.ErrTooManyKeys) || d != nil {
		t.Errorf("five keys in use: %v", err)
	}
}

// Rule: bytes that are no keyring file get a typed error that repeats none of
// them.
func TestForeignFiles(t *testing.T) {
	good := string(must(newDoc(t).Plain("cleartext", 1))(t))
	for name, file := range map[string]string{
		"nothing":                  "",
		"blank":                    " \n",
		"text":                     "hunter2",
		"a hex key":                strings.Repeat("ab", 32),
		"null":                     "null",
		"a list":                   "[]",
		"a number":                 "7",
		"another object":           `{"hunter2": 1}`,
		"an age file":              "age-encryption.org/v1\n-> X25519 hunter2\n",
		"deep nesting":             strings.Repeat(`{"a":`, 50_000),
		"deep lists":               strings.Repeat(`[`, 1<<19),
		"something after":          good + "{}",
		"a name twice":             strings.Replace(good, `"version":1`, `"version":1,"version":1`, 1),
		"a name twice in capitals": strings.Replace(good, `"generation":1`, `"generation":1,"GENERATION":9`, 1),
		"a name twice deep down":   strings.Replace(good, `"role":"current"`, `"role":"current","role":"staged"`, 1),
		"too large":                strings.Repeat(" ", keyfile.MaxFileBytes) + good,
		"a document too large":     strings.Repeat(" ", keyfile.MaxFileBytes*3/4) + good,
	} {
		for kind, p := range map[string]*keyfile.Protection{"cleartext": keyfile.Cleartext(), "passphrase": must(keyfile.QuickPassphrase(phrase))(t)} {
			if kind != "cleartext" && strings.Contains(file, "cleartext") {
				continue
			}
			_, err := p.Open([]byte(file))
			if !errors.Is(err, keyfile.ErrFormat) || strings.Contains(fmt.Sprint(err), "hunter2") {
				t.Errorf("%s, for %s: %v", name, kind, err)
			}
		}
	}
}

// Rule: a file that another SDK writes with white space and fields in another
// order is the same file.
func TestFormattingDoesNotMatter(t *testing.T) {
	var out bytes.Buffer
	if err := json.Indent(&out, edited(t, func(object, []object) {}), "", "  "); err != nil {
		t.Fatal(err)
	}
	d, err := keyfile.Cleartext().Open(out.Bytes())
	if err != nil || d.Generation() != 7 || roles(d) != "drdcs" {
		t.Errorf("got %v", err)
	}
}

// The parser gets what a file system holds (protected) and what a protection
// opened (documents), both of which somebody else may have written.
func FuzzFile(f *testing.F) {
	p := must(keyfile.QuickPassphrase(phrase))(f)
	seeds := [][]byte{
		must(withEveryRole(f).Plain("cleartext", 7))(f),
		must(withEveryRole(f).Bytes(ageOf(f, identity(f)), 1))(f),
		must(withEveryRole(f).Bytes(fakeKMS(f), 1))(f),
		must(withEveryRole(f).Bytes(p, 1))(f),
		edited(f, func(o object, ks []object) { o["generation"] = keyfile.MaxGeneration }),
		edited(f, func(o object, ks []object) { retype(keysetKeys(o)[0]) }),
	}
	for _, s := range seeds {
		if !json.Valid(s) {
			f.Fatal("a seed is no JSON")
		}
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		for _, q := range []*keyfile.Protection{keyfile.Cleartext(), p} {
			d, err := q.Open(file)
			if err != nil {
				if !typed(err) && !errors.Is(err, keyfile.ErrVersion) {
					t.Fatalf("an error of no class: %v", err)
				}
				continue
			}
			// What is accepted obeys the rules, and survives a round trip.
			if ring, err := d.Keyring(); err != nil || ring.Len() > 1+keys.MaxPrevious {
				t.Fatalf("accepted, but its keyring is refused: %v", err)
			}
			again := must(keyfile.Cleartext().Open(must(d.Plain("cleartext", 1))(t)))(t)
			if fmt.Sprint(again.Keys()) != fmt.Sprint(d.Keys()) {
				t.Fatal("a round trip changes the keys")
			}
		}
	})
}

// Rule: the format is the one that docs/keyring-file.md describes, byte by byte:
// what another SDK makes of that page is read here.
func TestTheDocumentedFormat(t *testing.T) {
	const key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	raw := must(hex.DecodeString(key))(t)
	id := sha256.Sum256(append([]byte("cachekit_keyring_key_v1"), raw...))
	value := base64.StdEncoding.EncodeToString(append([]byte{0x12, 0x02, 0x08, 0x03, 0x1a, 0x20}, raw...))
	file := fmt.Sprintf(`{
		"format": "cachekit-keyring", "version": 1, "protection": "cleartext",
		"keyring": "00112233445566778899aabbccddeeff", "generation": 12, "written_at": "2027-03-01T12:00:00Z",
		"keys": [
			{"id": "%064x", "role": "destroyed", "created_at": "2026-01-01T00:00:00Z", "destroyed_at": "2027-01-01T01:02:03+01:00"},
			{"id": "%x", "tink_key_id": 7, "role": "current", "created_at": "2026-01-01T00:00:00Z", "promoted_at": "2026-02-01T00:00:00Z", "note": "by hand"}
		],
		"keyset": {"primaryKeyId": 7, "key": [{"keyId": 7, "status": "ENABLED", "outputPrefixType": "RAW", "keyData": {
			"typeUrl": "type.googleapis.com/google.crypto.tink.HkdfPrfKey", "keyMaterialType": "SYMMETRIC", "value": %q}}]}
	}`, 1, id, value)
	d, err := keyfile.Cleartext().Open([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	if current, previous, err := d.Export(); current != key || previous != "" || err != nil {
		t.Errorf("exported another key (%v)", err)
	}
	if d.Generation() != 12 || roles(d) != "dc" || d.Keys()[1].Note != "by hand" {
		t.Errorf("read as %+v", d.Keys())
	}
	var written struct {
		Keyset struct {
			Key []struct {
				KeyData struct{ Value, TypeURL string }
			}
		}
	}
	if err := json.Unmarshal(must(d.Plain("cleartext", 13))(t), &written); err != nil || written.Keyset.Key[0].KeyData.Value != value {
		t.Errorf("written with another value (%v)", err)
	}
}

// Rule: a KMS file is what the page says: a length, the data key as the KMS
// sealed it, and AES-256-GCM with the purpose as associated data.
func TestTheDocumentedKMSFormat(t *testing.T) {
	p := must(keyfile.KMS(echoKMS{}, "echo://key"))(t)
	sealed := sealedIn(t, must(newDoc(t).Bytes(p, 3))(t))
	n := binary.BigEndian.Uint32(sealed)
	dek, payload := sealed[4:4+n], sealed[4+n:]
	if len(dek) != 34 || dek[0] != 0x1a || dek[1] != 0x20 { // field 3, 32 bytes
		t.Fatalf("the data key has %d bytes", len(dek))
	}
	gcm := must(cipher.NewGCM(must(aes.NewCipher(dek[2:]))(t)))(t)
	plain, err := gcm.Open(nil, payload[:12], payload[12:], []byte("cachekit-keyring/1/kms/echo://key"))
	if err != nil || !bytes.Contains(plain, []byte(`"generation":3`)) {
		t.Errorf("got %v", err)
	}
}

// echoKMS seals nothing, and insists on empty associated data.
type echoKMS struct{}

func (echoKMS) Supported(string) bool                { return true }
func (echoKMS) GetAEAD(string) (tink.AEAD, error)    { return echoKMS{}, nil }
func (echoKMS) Encrypt(p, ad []byte) ([]byte, error) { return echo(p, ad) }
func (echoKMS) Decrypt(c, ad []byte) ([]byte, error) { return echo(c, ad) }

func echo(b, data []byte) ([]byte, error) {
	if len(data) > 0 {
		return nil, errors.New("associated data")
	}
	return bytes.Clone(b), nil
}
