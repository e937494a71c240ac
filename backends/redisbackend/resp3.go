package redisbackend

import (
	"bytes"
	"io"
	"math"
	"runtime"
	"strconv"
	"strings"

	"github.com/cachekit-io/cachekit-go/backends"
)

const (
	// deepest is how far values may nest in what a tracking connection receives;
	// the answer to HELLO nests by three.
	deepest = 8
	// reportKeys is how many keys are passed on at a time.
	reportKeys = 256
)

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

// RedisError makes it one that classify knows.
func (refusal) RedisError() {}

// read handles what arrives until the connection ends.
func (s *session) read() error {
	for {
		if err := s.next(); err != nil {
			return err
		}
	}
}

// next reads up to the next answer, or one report (RESP3 specification, "push
// type"): reports come between answers. Nothing is kept of what is not needed,
// so a server can make this read long, but not take memory.
func (s *session) next() error {
	kind, n, line, err := s.header()
	if err != nil {
		return err
	}
	switch kind {
	case '>':
		return s.report(n)
	case '|':
		return s.skipAll(2*n, 1)
	}
	r, ok := s.answered()
	switch {
	case !ok:
		return errReply
	case r.write != nil:
		err := s.outcome(r.write, kind, line)
		if s.r.Buffered() == 0 {
			runtime.Gosched() // the caller goes on before the socket is asked again
		}
		return err
	case kind == '-':
		return refusal(line)
	case r.kind == requestHello:
		return s.checkRole(kind, n)
	case kind != '+':
		return errReply
	case r.kind == requestTrack:
		s.link.set(func() {
			s.link.live = true
			s.link.covered = append(s.link.covered, r.prefixes...)
			s.link.lane.Store(s)
		})
	}
	return nil
}

// outcome hands the answer to a write over, whose caller may be gone the next
// moment. Others are told of the change too.
func (s *session) outcome(w *linkWrite, kind byte, line []byte) error {
	switch kind {
	case '-':
		answer := refusal(line)
		w.finish(0, answer)
		if strings.HasPrefix(string(answer), "READONLY ") {
			return errNoMaster
		}
		return nil
	case '+', ':':
		n, _ := strconv.ParseInt(string(line), 10, 64)
		key, by := w.key, w.by
		w.finish(n, nil)
		s.link.t.wrote(key, by)
		return nil
	}
	w.finish(0, errLost)
	return errReply
}

// checkRole reads the answer to HELLO.
func (s *session) checkRole(kind byte, pairs int64) error {
	if kind != '%' {
		return errReply
	}
	role := ""
	for range pairs {
		name, err := s.text()
		if err != nil {
			return err
		}
		if name == "role" {
			role, err = s.text()
		} else {
			err = s.skip(1)
		}
		if err != nil {
			return err
		}
	}
	if role != "master" {
		return errNoMaster
	}
	return nil
}

// report handles a push of n values.
func (s *session) report(n int64) error {
	if n < 1 {
		return errReply
	}
	name, err := s.text()
	if err != nil {
		return err
	}
	if name != "invalidate" || n != 2 {
		return s.skipAll(n-1, 1)
	}
	kind, n, _, err := s.header()
	switch {
	case err != nil:
		return err
	case kind == '_' || kind == '*' && n < 0:
		s.link.t.flushed()
		return nil
	case kind != '*':
		return errReply
	}
	return s.invalidated(n)
}

// invalidated passes on n keys.
func (s *session) invalidated(n int64) error {
	for n > 0 {
		s.keys = s.keys[:0]
		for ; n > 0 && len(s.keys) < reportKeys; n-- {
			key, err := s.text()
			if err != nil {
				return err
			}
			if key != "" {
				s.keys = append(s.keys, key)
			}
		}
		s.link.t.changed(s.link, s.keys)
	}
	return nil
}

// text reads a string. One that is longer than a key of the family, which is
// nobody's here, is read past and returned as "".
func (s *session) text() (string, error) {
	kind, n, line, err := s.header()
	switch {
	case err != nil:
		return "", err
	case kind == '+':
		return string(line), nil
	case kind != '$' || n < 0:
		return "", errReply
	case n > backends.MaxKeyBytes:
		return "", s.discard(n + 2)
	}
	b, err := s.r.Peek(int(n) + 2)
	if err != nil {
		return "", unexpected(err)
	}
	text := string(b[:n])
	return text, s.discard(n + 2)
}

// header reads the first line of a value: its type and, where that has one, its
// length, which is -1 for RESP2's null.
func (s *session) header() (kind byte, n int64, line []byte, err error) {
	line, err = s.r.ReadSlice('\n')
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

func (s *session) skipAll(n int64, depth int) error {
	for ; n > 0; n-- {
		if err := s.skip(depth); err != nil {
			return err
		}
	}
	return nil
}

// skip reads past one value.
func (s *session) skip(depth int) error {
	kind, n, _, err := s.header()
	switch {
	case err != nil:
		return err
	case depth > deepest:
		return errReply
	}
	switch kind {
	case '$', '=', '!':
		if n >= 0 {
			return s.discard(n + 2)
		}
	case '*', '~', '>':
		return s.skipAll(n, depth+1)
	case '%':
		return s.skipAll(2*n, depth+1)
	case '|':
		return s.skipAll(2*n+1, depth+1)
	}
	return nil
}

func (s *session) discard(n int64) error {
	_, err := s.r.Discard(int(n))
	return unexpected(err)
}

// unexpected is the end of a connection that nobody asked for.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
