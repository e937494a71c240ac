package keyfile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf/hkdfprf"
	"github.com/tink-crypto/tink-go/v2/secretdata"

	"github.com/cachekit-io/cachekit-go/keys"
)

// This file is the boundary to Tink: a keyset stores bytes and nothing else.
// Its keys are of the type HkdfPrfKey with SHA-256 and no salt; the PRF itself
// is never used. Roles decide, and the states of the keyset follow them:
// current is primary, staged and demoted are enabled, retired is disabled.

// idPrefix separates ids from other uses of SHA-256.
const idPrefix = "cachekit_keyring_key_v1"

func keyID(b []byte) string {
	h := sha256.New()
	h.Write([]byte(idPrefix))
	h.Write(b)
	return hex.EncodeToString(h.Sum(nil))
}

// statusOf is the state in the keyset of a key that is not destroyed.
func statusOf(r Role) keyset.KeyStatus {
	if r == Retired {
		return keyset.Disabled
	}
	return keyset.Enabled
}

// addKey adds the bytes of k to the keyset and returns their id and Tink's.
func addKey(m *keyset.Manager, k keys.MasterKey) (id string, tinkID uint32, err error) {
	b, err := hex.DecodeString(k.RevealHex())
	if err != nil {
		return "", 0, err
	}
	defer clear(b)
	if len(b) > maxKeyBytes {
		return "", 0, fmt.Errorf("%w: a key has %d bytes, the most is %d", ErrTransition, len(b), maxKeyBytes)
	}
	params, err := hkdfprf.NewParameters(len(b), hkdfprf.SHA256, nil)
	if err != nil {
		return "", 0, err
	}
	key, err := hkdfprf.NewKey(secretdata.NewBytesFromData(b, insecuresecretdataaccess.Token{}), params)
	if err != nil {
		return "", 0, err
	}
	tinkID, err = m.AddKey(key)
	return keyID(b), tinkID, err
}

// entryBytes returns a copy of the bytes of an entry, for the caller to clear.
func entryBytes(e *keyset.Entry) ([]byte, error) {
	key, ok := e.Key().(*hkdfprf.Key)
	if !ok {
		return nil, fmt.Errorf("%w: a key of the keyset is no HkdfPrfKey", ErrFormat)
	}
	params, ok := key.Parameters().(*hkdfprf.Parameters)
	if !ok || params.HashType() != hkdfprf.SHA256 || len(params.Salt()) != 0 {
		return nil, fmt.Errorf("%w: a key of the keyset has parameters other than SHA-256 without salt", ErrFormat)
	}
	if n := key.KeyBytes().Len(); n < keys.MasterKeyBytes || n > maxKeyBytes {
		return nil, fmt.Errorf("%w: a key of the keyset has %d bytes", ErrFormat, n)
	}
	return key.KeyBytes().Data(insecuresecretdataaccess.Token{}), nil
}

// masterKey copies the bytes of an entry into a key.
func masterKey(e *keyset.Entry) (keys.MasterKey, error) {
	b, err := entryBytes(e)
	if err != nil {
		return keys.MasterKey{}, err
	}
	defer clear(b)
	if len(b) == keys.MasterKeyBytes {
		return keys.Raw(b)
	}
	return keys.Hex(hex.EncodeToString(b))
}

// entries returns the entries of a keyset by Tink's id.
func entries(h *keyset.Handle) (map[uint32]*keyset.Entry, error) {
	out := make(map[uint32]*keyset.Entry, h.Len())
	for i := range h.Len() {
		e, err := h.Entry(i)
		if err != nil {
			return nil, fmt.Errorf("%w: keyset: %w", ErrFormat, err)
		}
		if out[e.KeyID()] != nil {
			return nil, fmt.Errorf("%w: the keyset has a key id twice", ErrFormat)
		}
		out[e.KeyID()] = e
	}
	return out, nil
}

func writeKeyset(h *keyset.Handle) ([]byte, error) {
	var out bytes.Buffer
	err := insecurecleartextkeyset.Write(h, keyset.NewJSONWriter(&out))
	return out.Bytes(), err
}

// readKeyset does not repeat Tink's errors, which may quote the input.
func readKeyset(text []byte) (*keyset.Handle, error) {
	h, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(text)))
	if err != nil {
		return nil, fmt.Errorf("%w: the keyset in it is none that Tink reads", ErrFormat)
	}
	return h, nil
}
