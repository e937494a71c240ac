// Package pathkey encodes a storage key as one segment of an HTTP path
// (spec/saas-api.md, "Key encoding"), as the family's HTTP API takes it.
package pathkey

import (
	"errors"
	"strings"
)

// ErrReserved refuses keys that a server would take for a path of its own: the
// empty key, ".", "..", "health", "ttl" and "lock".
var ErrReserved = errors.New("pathkey: the key is empty or one of the names that the API reserves")

// Encode percent-encodes every byte of key but the unreserved ones (RFC 3986,
// 2.3), with upper-case hex digits. The error is ErrReserved.
func Encode(key string) (string, error) {
	switch key {
	case "", ".", "..", "health", "ttl", "lock":
		return "", ErrReserved
	}
	plain := 0
	for plain < len(key) && unreserved(key[plain]) {
		plain++
	}
	if plain == len(key) {
		return key, nil
	}
	var b strings.Builder
	b.Grow(len(key) + 2*8) // a few bytes to encode are usual
	b.WriteString(key[:plain])
	for i := plain; i < len(key); i++ {
		if c := key[i]; unreserved(c) {
			b.WriteByte(c)
		} else {
			const digits = "0123456789ABCDEF"
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	return b.String(), nil
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}
