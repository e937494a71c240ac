package keys

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"

	"github.com/cachekit-io/cachekit-go/internal/secret"
)

// MasterKeyBytes is the recommended length of a master key, the only one that
// every SDK of the family accepts (spec/intent-presets.md, "Master Key Input").
// Hex keys may be longer, never shorter; raw keys have exactly this length.
const MasterKeyBytes = 32

// redacted is embedded in every type that holds key material.
type redacted = secret.Unprintable

// MasterKey is a key that keys are derived from. It is immutable, safe for
// concurrent use, and prints as "[redacted]". The zero value is no key.
type MasterKey struct {
	redacted
	bytes secret.Bytes
}

// Hex parses the family's text form: hex digits in either case, at least 64 of
// them, and nothing else. The errors are ErrNotHex and ErrShortKey; they never
// repeat a character of text.
func Hex(text string) (MasterKey, error) {
	b, err := hex.DecodeString(text)
	defer clear(b)
	if err != nil {
		return MasterKey{}, ErrNotHex
	}
	if len(b) < MasterKeyBytes {
		return MasterKey{}, fmt.Errorf("%w: got %d bytes", ErrShortKey, len(b))
	}
	return MasterKey{bytes: secret.New(b)}, nil
}

// Raw takes the 32 bytes of a key themselves and copies them. Any other length
// is ErrRawLength: 64 bytes are most likely hex text, which would derive a key
// that no other SDK derives.
func Raw(b []byte) (MasterKey, error) {
	if len(b) != MasterKeyBytes {
		return MasterKey{}, fmt.Errorf("%w: got %d", ErrRawLength, len(b))
	}
	return MasterKey{bytes: secret.New(b)}, nil
}

// Generate makes a fresh random key of 32 bytes from the operating system's
// generator.
func Generate() MasterKey {
	var b [MasterKeyBytes]byte
	defer clear(b[:])
	rand.Read(b[:])
	return MasterKey{bytes: secret.New(b[:])}
}

// IsZero reports whether k is no key.
func (k MasterKey) IsZero() bool { return k.bytes.IsZero() }

// Equal compares two keys in constant time.
func (k MasterKey) Equal(other MasterKey) bool { return k.bytes.Equal(other.bytes) }

// RevealHex returns the key as hex text, the form that Hex and
// CACHEKIT_MASTER_KEY take. The result is the secret itself: write it to a
// secret store or a file of mode 0600, never to a log.
func (k MasterKey) RevealHex() string { return hex.EncodeToString(k.bytes.Reveal()) }
