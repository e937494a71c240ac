package redisbackend

import (
	"bufio"
	"bytes"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/cachekit-io/cachekit-go/backends"
)

// deepest is how far values may nest that are read past; the answer to HELLO
// nests by three.
const deepest = 8

// command is a request in RESP, an array of bulk strings.
func command(args []string) []byte {
	b := append(strconv.AppendInt([]byte{'*'}, int64(len(args)), 10), "\r\n"...)
	for _, a := range args {
		b = bulk(b, a)
	}
	return b
}

// refusal is an error that the server answered with.
type refusal string

func (r refusal) Error() string { return string(r) }

// code is the first word, which tells the kind of error.
func (r refusal) code() string {
	code, _, _ := strings.Cut(string(r), " ")
	return code
}

// RedisError makes it one that classify knows.
func (refusal) RedisError() {}

// parser reads RESP2 and RESP3 (Redis, "RESP protocol spec") from a server that
// may send anything: nothing is allocated for what it claims.
type parser struct{ r *bufio.Reader }

// text reads a string. One that is longer than a key of the family, which is
// nobody's here, is read past and returned as "".
func (p *parser) text() (string, error) {
	kind, n, line, err := p.header()
	switch {
	case err != nil:
		return "", err
	case kind == '+':
		return string(line), nil
	case kind != '$' || n < 0:
		return "", errReply
	case n > backends.MaxKeyBytes:
		return "", p.discard(n + 2)
	}
	b, err := p.r.Peek(int(n) + 2)
	if err != nil {
		return "", unexpected(err)
	}
	text := string(b[:n])
	return text, p.discard(n + 2)
}

// header reads the first line of a value: its type and, where that has one, its
// length, which is -1 for RESP2's null.
func (p *parser) header() (kind byte, n int64, line []byte, err error) {
	line, err = p.r.ReadSlice('\n')
	if err != nil {
		return 0, 0, nil, unexpected(err)
	}
	line, ok := bytes.CutSuffix(line, []byte("\r\n"))
	if !ok || len(line) == 0 {
		return 0, 0, nil, errReply
	}
	kind, line = line[0], line[1:]
	switch kind {
	case '+', '-', ':', '_', ',', '#', '(':
		return kind, 0, line, nil
	case '$', '=', '!', '*', '~', '%', '>', '|':
		n, err = strconv.ParseInt(string(line), 10, 64)
		if err != nil || n < -1 || n > math.MaxInt32 {
			return 0, 0, nil, errReply
		}
		return kind, n, nil, nil
	}
	return 0, 0, nil, errReply
}

func (p *parser) skipAll(n int64, depth int) error {
	for ; n > 0; n-- {
		if err := p.skip(depth); err != nil {
			return err
		}
	}
	return nil
}

// skip reads past one value.
func (p *parser) skip(depth int) error {
	kind, n, _, err := p.header()
	switch {
	case err != nil:
		return err
	case depth > deepest:
		return errReply
	}
	switch kind {
	case '$', '=', '!':
		if n >= 0 {
			return p.discard(n + 2)
		}
	case '*', '~', '>':
		return p.skipAll(n, depth+1)
	case '%':
		return p.skipAll(2*n, depth+1)
	case '|':
		return p.skipAll(2*n+1, depth+1)
	}
	return nil
}

func (p *parser) discard(n int64) error {
	_, err := p.r.Discard(int(n))
	return unexpected(err)
}

// unexpected is the end of a connection that nobody asked for.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
