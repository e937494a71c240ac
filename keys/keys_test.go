package keys_test

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/cachekit-io/cachekit-go/keys"
)

// everyDigit is the family's published key with every hex digit in it.
const everyDigit = "007f80ffa55ac33c1ee12dd24bb469968778f00f01102332455467768998abba"

func mustHex(t *testing.T, text string) keys.MasterKey {
	t.Helper()
	k, err := keys.Hex(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func ones(digit string) string { return strings.Repeat(digit, 64) }

func TestHexAcceptsWhatTheFamilyAccepts(t *testing.T) {
	for name, text := range map[string]string{
		"32 bytes":                everyDigit,
		"upper case":              strings.ToUpper(everyDigit),
		"mixed case":              "Aa" + ones("0")[2:],
		"longer than recommended": everyDigit + "00112233445566778899aabbccddeeff",
		"33 bytes":                everyDigit + "01",
	} {
		if k, err := keys.Hex(text); err != nil || k.IsZero() {
			t.Errorf("%s: refused: %v", name, err)
		}
	}
	if lower, upper := mustHex(t, everyDigit), mustHex(t, strings.ToUpper(everyDigit)); !lower.Equal(upper) {
		t.Error("the case of the digits changes the key")
	}
}

func TestHexRefusals(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       error
	}{
		{"empty", "", keys.ErrShortKey},
		{"31 bytes", everyDigit[:62], keys.ErrShortKey},
		{"24 bytes", everyDigit[:48], keys.ErrShortKey},
		{"16 bytes", everyDigit[:32], keys.ErrShortKey},
		{"odd number of digits, too many", everyDigit + "0", keys.ErrNotHex},
		{"odd number of digits, too few", everyDigit[:63], keys.ErrNotHex},
		{"a letter past f", everyDigit[:63] + "g", keys.ErrNotHex},
		{"trailing garbage", everyDigit + "gg", keys.ErrNotHex},
		{"plus sign", "+" + everyDigit[1:], keys.ErrNotHex},
		{"line end", everyDigit + "\n", keys.ErrNotHex},
		{"CRLF in place of a byte", everyDigit[:62] + "\r\n", keys.ErrNotHex},
		{"spaces inside", "00 7f 80" + everyDigit[6:62], keys.ErrNotHex},
		{"leading space", " " + everyDigit, keys.ErrNotHex},
		{"0x prefix", "0x" + everyDigit, keys.ErrNotHex},
		{"NUL", everyDigit[:62] + "\x00\x00", keys.ErrNotHex},
		{"not UTF-8", "\xff\xfe" + everyDigit, keys.ErrNotHex},
		{"full-width digits", "００" + everyDigit, keys.ErrNotHex},
	} {
		k, err := keys.Hex(tc.text)
		if !errors.Is(err, tc.want) || !k.IsZero() {
			t.Errorf("%s: got %v, want %v and no key", tc.name, err, tc.want)
		}
		if err != nil && len(tc.text) > 8 && strings.Contains(err.Error(), tc.text[:8]) {
			t.Errorf("%s: the error repeats the key", tc.name)
		}
	}
}

func TestRawTakesExactly32Bytes(t *testing.T) {
	for n := range 130 {
		k, err := keys.Raw(make([]byte, n))
		if n == keys.MasterKeyBytes {
			if err != nil || k.IsZero() {
				t.Errorf("%d bytes: refused: %v", n, err)
			}
		} else if !errors.Is(err, keys.ErrRawLength) {
			t.Errorf("%d bytes: got %v, want ErrRawLength", n, err)
		}
	}
	if _, err := keys.Raw(nil); !errors.Is(err, keys.ErrRawLength) {
		t.Errorf("nil: got %v", err)
	}
}

func TestRawCopies(t *testing.T) {
	b, _ := hex.DecodeString(everyDigit)
	k, err := keys.Raw(b)
	if err != nil {
		t.Fatal(err)
	}
	clear(b)
	if !k.Equal(mustHex(t, everyDigit)) {
		t.Error("changing the caller's slice changes the key")
	}
}

func TestGenerateMakesFreshKeys(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		text := keys.Generate().RevealHex()
		if len(text) != 64 || seen[text] {
			t.Fatalf("a generated key has %d digits, repeated: %v", len(text), seen[text])
		}
		seen[text] = true
		if _, err := keys.Hex(text); err != nil {
			t.Fatal(err)
		}
	}
}

// The values are the family's published ones (encryption.json).
func TestFingerprints(t *testing.T) {
	for _, tc := range []struct{ key, tenant, want string }{
		{strings.Repeat("61", 32), "cross-sdk-test", "96179a9bc881aa7ca83f04b78a66afd3"},
		{strings.Repeat("61", 32), "default", "52d54c97f8e5efaa5bdf58a301f92726"},
		{ones("1"), "keyring-conformance", "b6bfaa4119e9d72c87a393b17f1e117b"},
		{ones("2"), "keyring-conformance", "e066ffdacfb5fb11a6ecc44c7a0ecb4e"},
		{everyDigit, "default", "f3b07cd5f8ffa96a55243a22fc252200"},
		{"8" + everyDigit[1:], "default", "2948ef83d7f97ff9463cddf7ccd951d2"},
	} {
		got, err := mustHex(t, tc.key).Fingerprint(tc.tenant)
		if err != nil || got.String() != tc.want {
			t.Errorf("tenant %s: got %s, %v; want %s", tc.tenant, got, err, tc.want)
		}
	}
}

func TestTenants(t *testing.T) {
	k := mustHex(t, everyDigit)
	for tenant, ok := range map[string]bool{
		"":                         false,
		"a":                        true,
		"ünï 漢字":                   true,
		strings.Repeat("x", 255):   true,
		strings.Repeat("x", 256):   false,
		strings.Repeat("é", 128):   false, // 256 bytes
		"\xff":                     false,
		"tenant with a \n newline": true,
	} {
		_, err := k.Fingerprint(tenant)
		if ok != (err == nil) || !ok && !errors.Is(err, keys.ErrTenant) {
			t.Errorf("tenant of %d bytes: got %v, want accepted: %v", len(tenant), err, ok)
		}
	}
	if _, err := (keys.MasterKey{}).Fingerprint("default"); !errors.Is(err, keys.ErrNoKey) {
		t.Errorf("zero key: got %v, want ErrNoKey", err)
	}
}

func TestNameSecret(t *testing.T) {
	for _, text := range []string{"", ones("0")[:62], ones("0") + "00", "zz" + ones("0")[2:], ones("0")[:63]} {
		if s, err := keys.ParseNameSecret(text); !errors.Is(err, keys.ErrNameSecret) || !s.IsZero() {
			t.Errorf("%d digits: got %v, want ErrNameSecret", len(text), err)
		}
	}
	a, err := keys.ParseNameSecret(everyDigit)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := keys.ParseNameSecret(ones("1"))
	// Reference: python3 hashlib.blake2b(b"42", key=bytes.fromhex(...), digest_size=32).
	const want = "b4787edcaf6c31708d3c1ee6fe330bc20584fddfc73cc6cb898d76a456903a3f"
	if got := a.Hide("42"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	again, _ := keys.ParseNameSecret(everyDigit)
	if a.Hide("42") != again.Hide("42") || a.Hide("42") == a.Hide("43") || a.Hide("42") == b.Hide("42") {
		t.Error("the hidden name must depend on the name and the secret, and on nothing else")
	}
}
