package rekey

import (
	"bytes"

	"github.com/cachekit-io/cachekit-go/codec"
	"github.com/cachekit-io/cachekit-go/internal/envelope"
)

// What an entry that does not open looks like. Sealed bytes carry no mark, so
// each is a guess.
const (
	LooksPython    = "python-frame"
	LooksPlaintext = "plaintext-messagepack"
	LooksEmpty     = "too-short"
	LooksSealed    = "sealed-or-random"
)

// Guess says what r, which does not open, looks like.
func Guess(r envelope.Received) (what string) {
	r.Peek(func(b []byte) {
		switch {
		case len(b) < envelope.Overhead && codec.Check(b) != nil:
			what = LooksEmpty
		case bytes.HasPrefix(b, []byte("CK")):
			what = LooksPython
		case codec.Check(b) == nil:
			what = LooksPlaintext
		default:
			what = LooksSealed
		}
	})
	return what
}
