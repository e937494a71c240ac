package keys

import (
	"encoding/hex"
	"errors"

	"golang.org/x/crypto/blake2b"

	"github.com/cachekit-io/cachekit-go/internal/secret"
)

// ErrNameSecret refuses a secret for key names that is not 32 bytes of hex.
var ErrNameSecret = errors.New("keys: key name secret must be exactly 64 hex digits")

// nameSecretBytes is the length of a NameSecret.
const nameSecretBytes = 32

// NameSecret hides the names of cache keys from the storage. It is independent
// of the master keys: rotating those leaves names as they are. It prints as
// "[redacted]"; the zero value hides nothing.
type NameSecret struct {
	redacted
	bytes secret.Bytes
}

// ParseNameSecret parses exactly 64 hex digits. The error is ErrNameSecret.
func ParseNameSecret(text string) (NameSecret, error) {
	b, err := hex.DecodeString(text)
	defer clear(b)
	if err != nil || len(b) != nameSecretBytes {
		return NameSecret{}, ErrNameSecret
	}
	return NameSecret{bytes: secret.New(b)}, nil
}

// IsZero reports whether s hides nothing.
func (s NameSecret) IsZero() bool { return s.bytes.IsZero() }

// Hide returns the name to store in place of name: BLAKE2b-256 keyed with the
// secret (RFC 7693, 2.9), as 64 lower-case hex digits.
func (s NameSecret) Hide(name string) string {
	h, err := blake2b.New256(s.bytes.Reveal())
	if err != nil {
		panic("keys: blake2b refused a 32-byte key: " + err.Error())
	}
	h.Write([]byte(name))
	return hex.EncodeToString(h.Sum(nil))
}
