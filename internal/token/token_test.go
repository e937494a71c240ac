package token_test

import (
	"encoding/hex"
	"testing"

	"github.com/cachekit-io/cachekit-go/internal/token"
)

// Rule: a token has 128 bits, of which none is fixed, and is never repeated.
func TestNew(t *testing.T) {
	seen := map[string]bool{}
	var ones, zeros [16]byte
	for range 1000 {
		text := token.New()
		raw, err := hex.DecodeString(text)
		if err != nil || len(raw) != 16 || seen[text] {
			t.Fatalf("want 32 hex digits never seen before, got %d characters (%v)", len(text), err)
		}
		seen[text] = true
		for i, b := range raw {
			ones[i] |= b
			zeros[i] |= ^b
		}
	}
	for i := range ones {
		if ones[i]&zeros[i] != 0xff {
			t.Errorf("byte %d has bits that do not change", i)
		}
	}
}
