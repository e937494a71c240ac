package keys_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/cachekit-io/cachekit-go/internal/secret"
	"github.com/cachekit-io/cachekit-go/keys"
)

// The values were computed with Python's hmac and hashlib after RFC 5869 and
// spec/encryption.md.
func TestEveryDomainDerivesThePublishedKey(t *testing.T) {
	k := mustHex(t, everyDigit)
	ring, err := keys.NewKeyring(k)
	if err != nil {
		t.Fatal(err)
	}
	for domain, want := range map[keys.Domain][2]string{
		keys.DomainEncryption:     {"d03795d39d36bbba906b403b6637976dc640f15e0ef5f25c8237b32fbfa72b62", "f3b07cd5f8ffa96a55243a22fc252200"},
		keys.DomainAuthentication: {"d601c0d097247a5b3b5577ee5a144e7f4bb22912725e62872de4f64e9cd37cad", "b331ce8332542b730f1dd185897417bb"},
		keys.DomainCacheKeys:      {"d2ef103a10fadae299dc5a9806090ea320e48f7057b897873c4a9b97227db1a9", "38ec744d99c09297d98cee5ec16fb35f"},
	} {
		got, err := ring.Derive(secret.NewGrant(), domain, "default")
		if err != nil || hex.EncodeToString(got[0].Bytes.Reveal()) != want[0] || got[0].Fingerprint.String() != want[1] {
			t.Errorf("%s: another key or fingerprint (%v)", domain, err)
		}
		text, err := json.Marshal(got[0].Fingerprint)
		if err != nil || string(text) != `"`+want[1]+`"` {
			t.Errorf("%s: the fingerprint is %s in JSON, %v", domain, text, err)
		}
	}
}

func TestMasterKeysNeedAGrantAndAreTheCallers(t *testing.T) {
	k, old := mustHex(t, everyDigit), mustHex(t, ones("1"))
	ring, err := keys.NewKeyring(k, old)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ring.MasterKeys(secret.Grant{}); !errors.Is(err, keys.ErrGrant) || got != nil {
		t.Errorf("zero grant: got %d keys, %v", len(got), err)
	}
	got, err := ring.MasterKeys(secret.NewGrant())
	if err != nil || len(got) != 2 || !got[0].Equal(k) || !got[1].Equal(old) {
		t.Fatalf("with a grant: %d keys, %v", len(got), err)
	}
	got[0] = keys.Generate()
	if again, _ := ring.MasterKeys(secret.NewGrant()); !again[0].Equal(k) {
		t.Error("who changes the slice changes the keyring")
	}
}

// Rule: every byte of a generated key is the generator's.
func TestEveryByteOfAGeneratedKeyIsRandom(t *testing.T) {
	var seen [keys.MasterKeyBytes]map[byte]bool
	for range 64 {
		b, _ := hex.DecodeString(keys.Generate().RevealHex())
		for i, v := range b {
			if seen[i] == nil {
				seen[i] = map[byte]bool{}
			}
			seen[i][v] = true
		}
		if string(b[:16]) == string(b[16:]) {
			t.Fatal("the halves of a key are the same")
		}
	}
	for i, values := range seen {
		if len(values) < 16 {
			t.Errorf("byte %d has %d values in 64 keys", i, len(values))
		}
	}
}

// Rule: the error of a list counts its entries as people do.
func TestEnvironmentNamesTheEntry(t *testing.T) {
	t.Setenv(keys.EnvMasterKey, everyDigit)
	for text, want := range map[string]string{"xyz": "entry 1:", ones("1") + ", xyz": "entry 2:"} {
		t.Setenv(keys.EnvPreviousMasterKeys, text)
		if _, err := (keys.Environment{}).Keyring(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
