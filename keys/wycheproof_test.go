package keys_test

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
)

// HKDF-SHA256, by the call that derives every key of this package, against
// Project Wycheproof. Which salt and info that call is given is the matter of the
// family's own vectors (package testvectors).
func TestWycheproof(t *testing.T) {
	var file struct {
		Tests []struct {
			ID                   int
			Valid                bool
			IKM, Salt, Info, OKM string
			Size                 int
		}
	}
	raw, err := os.ReadFile("testdata/wycheproof_hkdf_sha256.json")
	if err == nil {
		err = json.Unmarshal(raw, &file)
	}
	if err != nil || len(file.Tests) != 86 {
		t.Fatalf("%d vectors, want 86: %v", len(file.Tests), err)
	}
	bin := func(text string) []byte {
		b, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, v := range file.Tests {
		got, err := hkdf.Key(sha256.New, bin(v.IKM), bin(v.Salt), string(bin(v.Info)), v.Size)
		if (err == nil) != v.Valid {
			t.Errorf("vector %d: %v; valid is %t", v.ID, err, v.Valid)
		}
		if v.Valid && !bytes.Equal(got, bin(v.OKM)) {
			t.Errorf("vector %d derives something else", v.ID)
		}
	}
}
