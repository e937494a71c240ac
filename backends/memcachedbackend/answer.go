package memcachedbackend

import (
	"bytes"
	"math"
)

// maxLine bounds a line of an answer; the longest legal one repeats a key and
// has four numbers.
const maxLine = 1024

// answer follows the bytes of the answer to one request on their way to
// gomemcache, which trusts them: it allocates whatever length a server claims,
// takes any number of values and leaves what follows for the next caller. The
// zero value lets everything pass, for requests whose answer this package reads
// itself.
type answer struct {
	kind    kind
	limit   int  // bytes of the value
	found   bool // the value has begun
	skip    int  // bytes of the value and its line end still to come
	done    bool
	refused *ServerError

	part []byte // the line that is not complete yet
}

type kind uint8

const (
	anything kind = iota
	oneValue      // a VALUE block or none, and END
	line          // one line
)

// take is given the bytes that came. It returns how many of them belong to the
// answer, or an error if the answer is out of bounds.
func (a *answer) take(p []byte) (n int, err error) {
	if a.kind == anything {
		return len(p), nil
	}
	for n < len(p) && !a.done {
		if a.skip > 0 {
			k := min(a.skip, len(p)-n)
			a.skip -= k
			n += k
			continue
		}
		i := bytes.IndexByte(p[n:], '\n')
		if i < 0 {
			a.part = append(a.part, p[n:]...)
			if len(a.part) > maxLine {
				return n, errReply
			}
			return len(p), nil
		}
		text := p[n : n+i+1]
		if len(a.part) > 0 {
			a.part = append(a.part, text...)
			text = a.part
		}
		n += i + 1
		if err := a.line(text); err != nil {
			return n, err
		}
		a.part = a.part[:0]
	}
	return n, nil
}

func (a *answer) line(text []byte) error {
	if len(text) > maxLine {
		return errReply
	}
	if a.kind == line || string(text) == "END\r\n" {
		a.refused, a.done = refusal(text), true
		return nil
	}
	_, size, ok := valueLine(text)
	if !ok {
		if a.refused = refusal(text); a.refused == nil {
			return errReply
		}
		a.done = true
		return nil
	}
	switch {
	case a.found:
		return errReply
	case size > a.limit:
		return errReplyTooLarge
	}
	a.found = true
	a.skip = size + 2
	return nil
}

// valueLine reads "VALUE <key> <flags> <bytes> [<cas>]" (doc/protocol.txt,
// "Retrieval command"), with or without its end. Sizes end at 2 GiB.
func valueLine(text []byte) (key []byte, size int, ok bool) {
	rest, ok := bytes.CutPrefix(text, []byte("VALUE "))
	if !ok {
		return nil, 0, false
	}
	key, rest, _ = bytes.Cut(rest, []byte(" "))
	rest = rest[bytes.IndexByte(rest, ' ')+1:]
	var n int64
	for i, c := range rest {
		if c < '0' || c > '9' {
			return key, int(n), i > 0 && (c == ' ' || c == '\r')
		}
		if n = 10*n + int64(c-'0'); n > math.MaxInt32 {
			return nil, 0, false
		}
	}
	return key, int(n), len(rest) > 0
}
