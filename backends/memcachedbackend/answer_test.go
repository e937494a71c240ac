package memcachedbackend_test

import (
	"bytes"
	"testing"

	"github.com/cachekit-io/cachekit-go/backends/memcachedbackend"
)

// Rule: one value within the limit passes, with its END, and nothing after it.
func TestAnswerToGet(t *testing.T) {
	one := "VALUE k 0 3 17\r\nabc\r\n"
	for _, c := range []struct {
		text, passed string
		done, ok     bool
	}{
		{"END\r\n", "END\r\n", true, true},
		{one + "END\r\n", one + "END\r\n", true, true},
		{one + "END\r\nEND\r\n", one + "END\r\n", true, true},
		{one, one, false, true},
		{one + "END", one + "END", false, true},
		{one + one + "END\r\n", one + "VALUE k 0 3 17\r\n", false, false},
		{"VALUE k 0 1000\r\n", "VALUE k 0 1000\r\n", false, true},
		{"VALUE k 0 1001\r\n", "VALUE k 0 1001\r\n", false, false},
		{"ERROR\r\n" + one, "ERROR\r\n", true, true},
		{"STORED\r\n", "STORED\r\n", false, false},
	} {
		passed, done, err := memcachedbackend.Follow(1000, []byte(c.text))
		if string(passed) != c.passed || done != c.done || (err == nil) != c.ok {
			t.Errorf("%q: passed %q, done %t, %v; want %q, %t, ok %t", c.text, passed, done, err, c.passed, c.done, c.ok)
		}
	}
}

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
		passed, done, err := memcachedbackend.Follow(1000, text)
		if !bytes.HasPrefix(text, passed) {
			t.Fatal("something else passed than what came")
		}
		var chunks [][]byte
		for rest := text; len(rest) > 0; {
			n := min(int(size)+1, len(rest))
			chunks = append(chunks, rest[:n:n])
			rest = rest[n:]
		}
		inPieces, doneToo, errToo := memcachedbackend.Follow(1000, chunks...)
		if done != doneToo || (err == nil) != (errToo == nil) || err == nil && !bytes.Equal(passed, inPieces) {
			t.Fatalf("whole: %d bytes, done %t, %v; in pieces: %d, %t, %v", len(passed), done, err, len(inPieces), doneToo, errToo)
		}
	})
}
