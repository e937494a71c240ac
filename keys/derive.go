package keys

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"unicode/utf8"
)

// DefaultTenant is the tenant of a program that names none
// (spec/encryption.md, default_tenant vectors).
const DefaultTenant = "default"

// MaxTenantBytes is the longest tenant that every SDK of the family accepts
// (cachekit-core 0.7.4; the format itself could hold 1024).
const MaxTenantBytes = 255

// derivedKeyBytes is the length of every derived key (AES-256).
const derivedKeyBytes = 32

// saltPrefix begins the HKDF salt (spec/encryption.md, "Salt Construction").
const saltPrefix = "cachekit_v1_"

// fingerprintPrefix separates fingerprints from other uses of SHA-256
// (spec/encryption.md, "Key Fingerprint").
const fingerprintPrefix = "key_fingerprint_v1"

// Domain separates the purposes that keys are derived for (spec/encryption.md,
// "Tenant Key Derivation"). The zero value is no domain.
type Domain uint8

const (
	// DomainEncryption derives the key that seals values.
	DomainEncryption Domain = iota + 1
	// DomainAuthentication derives the family's key for message authentication.
	DomainAuthentication
	// DomainCacheKeys derives the key under which storage keys are hashed for
	// display.
	DomainCacheKeys
)

// String returns the domain as HKDF sees it.
func (d Domain) String() string {
	switch d {
	case DomainEncryption:
		return "encryption"
	case DomainAuthentication:
		return "authentication"
	case DomainCacheKeys:
		return "cache_keys"
	}
	return "invalid domain"
}

// Fingerprint identifies a derived key without revealing it: the first 16 bytes
// of SHA-256 over a prefix and the key.
type Fingerprint [16]byte

// String returns the fingerprint as 32 lower-case hex digits.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// MarshalText returns String, so that JSON shows it as text.
func (f Fingerprint) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

func fingerprint(key []byte) (f Fingerprint) {
	h := sha256.New()
	h.Write([]byte(fingerprintPrefix))
	h.Write(key)
	copy(f[:], h.Sum(nil))
	return f
}

// CheckTenant returns ErrTenant unless tenant is 1 to 255 bytes of valid UTF-8.
func CheckTenant(tenant string) error {
	if tenant == "" || len(tenant) > MaxTenantBytes || !utf8.ValidString(tenant) {
		return ErrTenant
	}
	return nil
}

// Fingerprint returns the fingerprint of the encryption key that k derives for
// tenant. It identifies the key of an entry; there is no fingerprint of a
// master key itself. The error is ErrTenant or ErrNoKey.
func (k MasterKey) Fingerprint(tenant string) (Fingerprint, error) {
	key, err := k.derive(DomainEncryption, tenant)
	if err != nil {
		return Fingerprint{}, err
	}
	defer clear(key)
	return fingerprint(key), nil
}

// derive is HKDF-SHA256 (RFC 5869) with the family's length-prefixed salt,
// which keeps (domain, tenant) pairs apart, and the domain as info.
func (k MasterKey) derive(domain Domain, tenant string) ([]byte, error) {
	if k.IsZero() {
		return nil, ErrNoKey
	}
	if err := CheckTenant(tenant); err != nil {
		return nil, err
	}
	name := domain.String()
	salt := append([]byte(saltPrefix), byte(len(name)))
	salt = append(salt, name...)
	salt = binary.BigEndian.AppendUint16(salt, uint16(len(tenant)))
	salt = append(salt, tenant...)
	return hkdf.Key(sha256.New, k.bytes.Reveal(), salt, name, derivedKeyBytes)
}
