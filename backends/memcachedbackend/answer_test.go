package memcachedbackend_test

import (
	"bytes"
	"testing"

	"github.com/cachekit-io/cachekit-go/backends/memcachedbackend"
)

// Rule: an answer is followed to the same end however it is cut into pieces, and
// nothing passes beyond its end.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		"END\r\n", "VALUE k 0 3 17\r\nabc\r\nEND\r\n", "VALUE k 0 0\r\n\r\nVALUE l 1 5 2\r\nEND\r\n\r\nEND\r\n", "ERROR\r\n",
		"SERVER_ERROR x\r\nEND\r\n", "VALUE k 0 3 17\r\nabc\r\nEND\r\nEND\r\n", "VALUE k 0 4000000000 1\r\n", "VALUE", "\n", "VALUE a b\n",
	} {
		f.Add([]byte(seed), uint8(1))
		f.Add([]byte(seed), uint8(3))
	}
	f.Fuzz(func(t *testing.T, text []byte, size uint8) {
		passed, done, err := memcachedbackend.Follow(2, 1000, text)
		if !bytes.HasPrefix(text, passed) {
			t.Fatal("something else passed than what came")
		}
		var chunks [][]byte
		for rest := text; len(rest) > 0; {
			n := min(int(size)+1, len(rest))
			chunks = append(chunks, rest[:n:n])
			rest = rest[n:]
		}
		inPieces, doneToo, errToo := memcachedbackend.Follow(2, 1000, chunks...)
		if done != doneToo || (err == nil) != (errToo == nil) || err == nil && !bytes.Equal(passed, inPieces) {
			t.Fatalf("whole: %d bytes, done %t, %v; in pieces: %d, %t, %v", len(passed), done, err, len(inPieces), doneToo, errToo)
		}
	})
}
