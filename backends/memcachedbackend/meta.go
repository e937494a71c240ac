package memcachedbackend

import (
	"bufio"
	"bytes"
	"io"
	"strconv"

	"github.com/bradfitz/gomemcache/memcache"
)

// item is what a meta get tells of an entry.
type item struct {
	value []byte
	ttl   int64 // seconds, -1 for no expiry
	flags uint32
	cas   uint64
}

// meta sends "mg <key> <flags>", which gomemcache cannot, and reads the answer
// (doc/protocol.txt, "Meta Get"; memcached 1.6). The flags are out of "k" (the
// key, which is then checked), "v" (the value), "t", "f" and "c".
func (se *session) meta(key, flags string, limit int) (item, error) {
	w := se.ask()
	_, _ = w.WriteString("mg ")
	_, _ = w.WriteString(key)
	for i := range len(flags) {
		_ = w.WriteByte(' ')
		_ = w.WriteByte(flags[i])
	}
	_, _ = w.WriteString("\r\n")
	if err := w.Flush(); err != nil {
		return item{}, err
	}
	it, err := se.metaAnswer(key, limit)
	se.answered(err)
	return it, err
}

func (se *session) metaAnswer(key string, limit int) (it item, err error) {
	text, err := se.readLine()
	if err != nil {
		return it, err
	}
	code, rest, _ := bytes.Cut(text, []byte(" "))
	size := -1
	switch string(code) {
	case "EN":
		return it, memcache.ErrCacheMiss
	case "HD":
	case "VA":
		var number []byte
		number, rest, _ = bytes.Cut(rest, []byte(" "))
		n, err := strconv.ParseUint(string(number), 10, 31)
		if err != nil {
			return it, errReply
		}
		if size = int(n); size > limit {
			return it, errReplyTooLarge
		}
	default:
		return it, errReply
	}
	if err := it.parse(rest, key); err != nil || size < 0 {
		return it, err
	}
	it.value, err = se.readValue(size)
	return it, err
}

// parse reads the flags of an answer, which may hold some that nobody asked for.
func (it *item) parse(rest []byte, key string) (err error) {
	for len(rest) > 0 && err == nil {
		var field []byte
		field, rest, _ = bytes.Cut(rest, []byte(" "))
		if len(field) == 0 {
			continue
		}
		text := string(field[1:])
		switch field[0] {
		case 'k':
			if text != key {
				return errReply
			}
		case 't':
			it.ttl, err = strconv.ParseInt(text, 10, 64)
		case 'c':
			it.cas, err = strconv.ParseUint(text, 10, 64)
		case 'f':
			var n uint64
			n, err = strconv.ParseUint(text, 10, 32)
			it.flags = uint32(n)
		}
	}
	if err != nil || it.ttl < -1 {
		return errReply
	}
	return nil
}

// buffer is how much is sent and received at once, of large values more.
const buffer = 16 << 10

// ask prepares a request whose answer this package reads itself.
func (se *session) ask() *bufio.Writer {
	if se.r == nil {
		se.r, se.w = bufio.NewReaderSize(se.conn, buffer), bufio.NewWriterSize(se.conn, buffer)
	}
	se.expect(anything, 0)
	return se.w
}

// answered ends a request that this package read the answer of. err is what
// came of it; anything but a hit or a miss ends the connection too.
func (se *session) answered(err error) {
	if err == nil || err == memcache.ErrCacheMiss {
		se.asked = false
	}
	if se.r.Buffered() > 0 {
		se.spoilt = true
	}
}

// readLine reads a line without its end. It is valid until the next read.
func (se *session) readLine() ([]byte, error) {
	text, err := se.r.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		return nil, errReply
	}
	if err != nil {
		return nil, err
	}
	if refused := refusal(text); refused != nil {
		return nil, refused
	}
	text, ok := bytes.CutSuffix(text, []byte("\r\n"))
	if !ok {
		return nil, errReply
	}
	return text, nil
}

func (se *session) readValue(size int) ([]byte, error) {
	value := make([]byte, size+2)
	if _, err := io.ReadFull(se.r, value); err != nil {
		return nil, err
	}
	if !bytes.HasSuffix(value, []byte("\r\n")) {
		return nil, errReply
	}
	return value[:size:size], nil
}
