package keys

import (
	"context"
	"fmt"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/secret"
)

// MaxPrevious is the largest number of decrypt-only keys in a keyring
// (decisions/key-rotation.md: it bounds the attempts of a read).
const MaxPrevious = 3

// Source hands out the keyring to use. A [*Keyring] is its own source.
//
// Package secure asks its source at construction, with the context of the
// constructor, and after that only if it is a [Refresher].
type Source interface {
	Keyring(ctx context.Context) (*Keyring, error)
}

// Refresher is a Source whose keyring may change while a program runs, such as
// that of package keyfile. A cache asks it again at every interval, from one
// goroutine, with a context that ends after 30 seconds or when the cache is
// closed. It takes over a *Keyring that is another one than before; after an
// error it keeps the one that it has. So Keyring returns the same pointer while
// nothing has changed, and is cheap then. Several caches may share a Refresher.
type Refresher interface {
	Source
	// RefreshInterval is asked once. Zero or less is never.
	RefreshInterval() time.Duration
}

// Keyring is one current key, which seals, and up to three decrypt-only keys,
// which only open. It is immutable, safe for concurrent use, and prints
// nothing.
//
// Rotation goes forward only: a key that has been current is never made current
// again, because the number of nonces it has used up is not known any more. A
// keyring can see only what it is given, so destroy retired keys.
type Keyring struct {
	redacted
	keys []MasterKey // current first
}

// NewKeyring returns a keyring that seals with current and opens with current,
// then each previous key in the given order. The errors are ErrNoKey,
// ErrTooManyKeys, ErrCurrentRepeated and ErrKeyRepeated.
func NewKeyring(current MasterKey, previous ...MasterKey) (*Keyring, error) {
	if len(previous) > MaxPrevious {
		return nil, fmt.Errorf("%w: got %d", ErrTooManyKeys, len(previous))
	}
	ring := &Keyring{keys: append([]MasterKey{current}, previous...)}
	for i, k := range ring.keys {
		if k.IsZero() {
			return nil, ErrNoKey
		}
		for j := range i {
			switch {
			case !k.Equal(ring.keys[j]):
			case j == 0:
				return nil, ErrCurrentRepeated
			default:
				return nil, ErrKeyRepeated
			}
		}
	}
	return ring, nil
}

// Keyring returns r itself.
func (r *Keyring) Keyring(context.Context) (*Keyring, error) { return r, nil }

// Len returns the number of keys, the current one included.
func (r *Keyring) Len() int { return len(r.keys) }

// Fingerprints returns the fingerprints of the encryption keys that are derived
// for tenant, current key first. The error is ErrTenant.
func (r *Keyring) Fingerprints(tenant string) ([]Fingerprint, error) {
	out := make([]Fingerprint, len(r.keys))
	for i, k := range r.keys {
		var err error
		if out[i], err = k.Fingerprint(tenant); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// DerivedKey is a key of one tenant for one purpose.
type DerivedKey struct {
	// Bytes are the 32 bytes of the key.
	Bytes secret.Bytes
	// Fingerprint identifies them.
	Fingerprint Fingerprint
}

// Derive returns the keys of tenant for domain, current key first. Only code of
// this module can hold the grant that it asks for; the error is ErrGrant
// without one, else ErrTenant.
func (r *Keyring) Derive(grant secret.Grant, domain Domain, tenant string) ([]DerivedKey, error) {
	if !grant.Valid() {
		return nil, ErrGrant
	}
	out := make([]DerivedKey, len(r.keys))
	for i, k := range r.keys {
		b, err := k.derive(domain, tenant)
		if err != nil {
			return nil, err
		}
		out[i] = DerivedKey{Bytes: secret.New(b), Fingerprint: fingerprint(b)}
		clear(b)
	}
	return out, nil
}

// MasterKeys returns the keys themselves, current key first. Only code of this
// module can hold the grant that it asks for; the error is ErrGrant without one.
// The slice is the caller's.
func (r *Keyring) MasterKeys(grant secret.Grant) ([]MasterKey, error) {
	if !grant.Valid() {
		return nil, ErrGrant
	}
	return append([]MasterKey(nil), r.keys...), nil
}
