package backends

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxKeyBytes is the longest storage key of the family, in bytes.
const MaxKeyBytes = 1024

// lockSuffix marks the keys of locks (cachekit-rs and cachekit-py store the
// lock of a key at "<key>:lock"); an entry of that name would be one.
const lockSuffix = ":lock"

// KeyRules is what a storage demands of its keys beyond [CheckKey].
type KeyRules struct {
	// MaxBytes is the longest key in bytes; 0 means MaxKeyBytes.
	MaxBytes int
	// Refuse returns why the storage cannot hold key, or "". It may be nil.
	// The reason must not repeat the key.
	Refuse func(key string) (reason string)
}

// Check returns a [*KeyError] if key breaks the family's rules or these.
func (r KeyRules) Check(key string) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if r.MaxBytes > 0 && len(key) > r.MaxBytes {
		return &KeyError{Reason: fmt.Sprintf("key has %d bytes, this storage holds at most %d", len(key), r.MaxBytes)}
	}
	if r.Refuse == nil {
		return nil
	}
	if reason := r.Refuse(key); reason != "" {
		return &KeyError{Reason: reason}
	}
	return nil
}

// KeyError refuses a storage key before anything is sent. Its text says what is
// wrong and never holds the key.
type KeyError struct {
	Reason string
}

// Error says what is wrong with the key.
func (e *KeyError) Error() string { return "backends: invalid key: " + e.Reason }

// CheckKey applies the rules that every storage key of the family obeys: 1 to
// 1024 bytes of valid UTF-8 without control characters, not ending in ":lock".
// A violation is a [*KeyError].
func CheckKey(key string) error {
	reason := ""
	switch {
	case key == "":
		reason = "key is empty"
	case len(key) > MaxKeyBytes:
		reason = fmt.Sprintf("key has %d bytes, the limit is %d", len(key), MaxKeyBytes)
	case strings.HasSuffix(key, lockSuffix):
		reason = `key ends in ":lock", which is where the lock of another key is stored`
	case !plainText(key):
		reason = "key is not valid UTF-8 without control characters"
	}
	if reason == "" {
		return nil
	}
	return &KeyError{Reason: reason}
}

// plainText reports whether key is valid UTF-8 without the control characters
// of Unicode (C0, DEL and C1).
func plainText(key string) bool {
	for i := 0; i < len(key); i++ {
		if c := key[i]; c < 0x20 || c == 0x7f {
			return false
		} else if c >= utf8.RuneSelf {
			return plainRunes(key[i:])
		}
	}
	return true
}

func plainRunes(key string) bool {
	for i, r := range key {
		if r < 0x20 || (r >= 0x7f && r <= 0x9f) {
			return false
		}
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(key[i:]); size == 1 {
				return false
			}
		}
	}
	return true
}
