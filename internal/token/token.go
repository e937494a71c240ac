// Package token makes the tokens that prove ownership of a lock.
package token

import (
	"crypto/rand"
	"encoding/hex"
)

// New returns 128 random bits as 32 lower-case hex digits.
func New() string {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // does not fail
	return hex.EncodeToString(raw[:])
}
