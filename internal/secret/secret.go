// Package secret holds bytes that no formatting verb, logger or marshaller
// prints, and the grant that lets code of this module, and nobody else, ask
// package keys for derived keys.
package secret

import "crypto/subtle"

// Bytes is an immutable byte string that does not print. The bytes sit behind a
// function value, so that reflection (fmt on a struct with an unexported field
// of this type, for example) finds a pointer to code and nothing else.
//
// The zero value holds no bytes. Copies share the same bytes.
type Bytes struct {
	Unprintable
	reveal func() []byte
}

// New returns b's content as secret bytes. It copies b; clearing the original
// is the caller's business.
func New(b []byte) Bytes {
	own := append([]byte(nil), b...)
	return Bytes{reveal: func() []byte { return own }}
}

// Reveal returns the bytes themselves, not a copy. The caller must not modify
// them and must not keep them longer than needed.
func (b Bytes) Reveal() []byte {
	if b.reveal == nil {
		return nil
	}
	return b.reveal()
}

// IsZero reports whether b is the zero value.
func (b Bytes) IsZero() bool { return b.reveal == nil }

// Equal compares two secrets in time that depends on their lengths alone.
func (b Bytes) Equal(other Bytes) bool {
	return subtle.ConstantTimeCompare(b.Reveal(), other.Reveal()) == 1
}

// Grant entitles its holder to derived keys. Only code inside this module can
// make one, because only it can import this package; the zero value, which
// reflection could make, entitles to nothing.
type Grant struct {
	valid bool
}

// NewGrant returns a valid grant.
func NewGrant() Grant { return Grant{valid: true} }

// Valid reports whether the grant came from NewGrant.
func (g Grant) Valid() bool { return g.valid }
