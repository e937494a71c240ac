// Package keys turns master keys into the keys that seal a tenant's values.
//
// The first call is usually none at all: package secure reads
// CACHEKIT_MASTER_KEY itself. A program that gets its key elsewhere parses it
// with [Hex] (or [Raw], for exactly 32 bytes) and puts it into secure.Options,
// alone or, while a rotation is under way, as a [Keyring]:
//
//	current, err := keys.Hex(text)
//	...
//	ring, err := keys.NewKeyring(current, previous)
//
// # How keys are handled
//
// A [MasterKey] never encrypts anything. HKDF-SHA256 derives from it, per
// tenant and per purpose, the 32-byte keys that do; they are handed only to
// code inside this module. Key bytes sit in types that every formatting verb,
// logger and marshaller shows as "[redacted]", so an Options value or a panic
// that holds one prints nothing. They stay in memory as long as the value is
// reachable: Go gives no way to wipe every copy, so treat a core dump of the
// process like the key.
//
// # What is refused
//
// Text that is not hex from its first to its last character, keys under 32
// bytes, raw keys of any length but 32, a keyring with more than three
// decrypt-only keys, with the current key among them, or with the same key
// twice. An environment variable that is set but unusable is an error, never
// "no key". Each refusal has its own sentinel error.
//
// # Compatibility
//
// Acceptance rules, derivation and fingerprints are those of the CacheKit
// family (spec/encryption.md, "Key Derivation" and "Key Rotation (Keyring)"),
// so one key opens the same entries in Python, Rust, TypeScript and Go.
package keys
