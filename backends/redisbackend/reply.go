package redisbackend

import (
	"bytes"
	"io"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"
)

var crlf = []byte("\r\n")

// reply receives the raw answer to a command whose result is one or several
// bulk strings, and bounds it before anything is allocated: go-redis's own
// parser allocates whatever length a server claims. It reads each value straight
// into the slice that the caller will own.
type reply struct {
	// limit is the largest value in bytes.
	limit int
	// want is the number of elements of an array, or -1 for one bare value.
	want int

	// take, if set, is given each value (nil for a missing one) with its place,
	// instead of values. Its slice is used again for the next.
	take func(i int, value []byte)

	values [][]byte // nil for a missing value
	taken  int
	buffer []byte // of take
	line   []byte
	size   int // of the bulk string that comes next, -1 if none does
	err    error
	first  [1][]byte
	header [24]byte // room for a usual line
}

func newReply(limit, want int) *reply {
	r := new(reply)
	r.init(limit, want)
	return r
}

func (r *reply) init(limit, want int) {
	r.limit, r.want, r.size = limit, want, -1
	r.values, r.line = r.first[:0], r.header[:0]
}

// result returns the only value of a bare reply.
func (r *reply) result() ([]byte, error) {
	switch {
	case r.err != nil:
		return nil, r.err
	case len(r.values) != 1:
		return nil, errReply
	case r.values[0] == nil:
		return nil, redis.Nil
	}
	return r.values[0], nil
}

// Write takes the type line of an element and the line ends.
func (r *reply) Write(p []byte) (int, error) {
	r.line = append(r.line, p...)
	text, ended := bytes.CutSuffix(r.line, crlf)
	if !ended {
		return len(p), nil
	}
	r.line = r.line[:0]
	if err := r.element(text); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (r *reply) element(text []byte) error {
	if len(text) == 0 {
		return errReply
	}
	switch text[0] {
	case '-':
		return r.refusal(string(text[1:]))
	case '_':
		return r.add(nil)
	case '*':
		n, err := strconv.Atoi(string(text[1:]))
		if err != nil || r.want < 0 || n != r.want || r.taken > 0 {
			return errReply
		}
		if r.take == nil {
			r.values = make([][]byte, 0, n)
		}
		return nil
	case '$':
		n, err := strconv.Atoi(string(text[1:]))
		switch {
		case err != nil || n < -1:
			return errReply
		case n == -1:
			return r.add(nil)
		case n > r.limit:
			return errReplyTooLarge
		}
		r.size = n
		return nil
	}
	return errReply
}

func (r *reply) refusal(text string) error {
	if r.taken > 0 {
		return errReply
	}
	r.err = answerError(text)
	return nil
}

func (r *reply) add(value []byte) error {
	if r.taken >= max(r.want, 1) {
		return errReply
	}
	if r.taken++; r.take != nil {
		r.take(r.taken-1, value)
		return nil
	}
	r.values = append(r.values, value)
	return nil
}

// ReadFrom takes one bulk string with its line end.
func (r *reply) ReadFrom(src io.Reader) (int64, error) {
	if r.size < 0 {
		return 0, errReply
	}
	value := r.room(r.size + 2)
	r.size = -1
	n, err := io.ReadFull(src, value)
	if err != nil {
		return int64(n), err
	}
	if !bytes.Equal(value[n-2:], crlf) {
		return int64(n), errReply
	}
	return int64(n), r.add(value[: n-2 : n-2])
}

// room returns a slice of n bytes.
func (r *reply) room(n int) []byte {
	if r.take == nil {
		return make([]byte, n)
	}
	r.buffer = slices.Grow(r.buffer[:0], n)
	return r.buffer[:n]
}

// answerError is an error reply in the form that go-redis gives it.
type answerError string

func (e answerError) Error() string { return string(e) }

// RedisError marks the error as the server's, as go-redis's own do.
func (e answerError) RedisError() {}
