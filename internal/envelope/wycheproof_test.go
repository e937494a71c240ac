package envelope

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
)

// hexBytes is a byte string in hex.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.AppendDecode(nil, text)
	return err
}

// The AEAD of a Box, built as New builds it, against Project Wycheproof: known
// answers, edge cases of the counter and the tag, and modified tags. A Box
// builds the AAD itself, so the vectors are put to its AEAD and not to Open.
func TestWycheproof(t *testing.T) {
	var file struct {
		Tests []struct {
			ID                           int
			Valid                        bool
			Key, Nonce, AAD, Doc, Sealed hexBytes
		}
	}
	raw, err := os.ReadFile("testdata/wycheproof_aes_256_gcm.json")
	if err == nil {
		err = json.Unmarshal(raw, &file)
	}
	if err != nil || len(file.Tests) != 66 {
		t.Fatalf("%d vectors, want 66: %v", len(file.Tests), err)
	}
	for _, v := range file.Tests {
		counted, err := newBox(Config{}).newAEAD(v.Key)
		if err != nil {
			t.Fatal(err)
		}
		drawn, err := newBox(Config{RandomNonces: true}).newAEAD(v.Key)
		if err != nil {
			t.Fatal(err)
		}
		if len(v.Nonce) != nonceSize || len(v.Sealed) != nonceSize+len(v.Doc)+tagSize {
			t.Fatalf("vector %d has the wrong sizes", v.ID)
		}
		if sealed := counted.Seal(bytes.Clone(v.Nonce), v.Nonce, v.Doc, v.AAD); bytes.Equal(sealed, v.Sealed) != v.Valid {
			t.Errorf("vector %d: sealed equals %t, want %t", v.ID, !v.Valid, v.Valid)
		}
		one, err1 := counted.Open(nil, v.Sealed[:nonceSize], v.Sealed[nonceSize:], v.AAD)
		two, err2 := drawn.Open(nil, nil, v.Sealed, v.AAD)
		if (err1 == nil) != v.Valid || (err2 == nil) != v.Valid {
			t.Errorf("vector %d: %v, %v; valid is %t", v.ID, err1, err2, v.Valid)
		}
		if v.Valid && (!bytes.Equal(one, v.Doc) || !bytes.Equal(two, v.Doc)) {
			t.Errorf("vector %d opens to something else", v.ID)
		}
	}
}
