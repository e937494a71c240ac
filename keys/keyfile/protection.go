package keyfile

import (
	"context"
	"fmt"

	"github.com/cachekit-io/cachekit-go/internal/secret"
)

// The kinds of protection, as a file names them.
const (
	kindPassphrase = "passphrase"
	kindAge        = "age"
	kindKMS        = "kms"
	kindCleartext  = "cleartext"
)

// purpose is what the associated data of a KMS protected file begins with.
const purpose = format + "/1/"

// redacted is embedded in every type that holds key material or a passphrase.
type redacted = secret.Unprintable

// Protection is how a file is sealed and opened. A program names the one it
// expects: a file with another kind does not open, so that nobody can swap a
// protected file for a cleartext one. It is immutable, safe for concurrent use,
// and prints nothing.
type Protection struct {
	redacted
	kind, keyURI string
	seal         func(ctx context.Context, plain []byte, recipients []string) ([]byte, error)
	open         func(ctx context.Context, sealed []byte) ([]byte, error)
	// recipients are whom the next write records and encrypts to; without any,
	// those that the file records, else fallback.
	recipients, fallback []string
}

// Cleartext is no protection: whoever reads the file has the keys, and whoever
// can write it can change roles and keys unnoticed, because nothing in it is
// authenticated. The mode and the owner of the file are all there is. It is
// meant for a secret store that mounts files in memory and for tests.
func Cleartext() *Protection { return &Protection{kind: kindCleartext} }

// otherKind says that a file is protected in another way than the program asks.
func (p *Protection) otherKind(kind string) error {
	if !validKind(kind) {
		return fmt.Errorf("%w: its kind of protection is unknown", ErrVersion)
	}
	return fmt.Errorf("%w: its protection is %q, this program asks for %q", ErrProtection, kind, p.kind)
}

func validKind(kind string) bool {
	return kind == kindPassphrase || kind == kindAge || kind == kindKMS || kind == kindCleartext
}
