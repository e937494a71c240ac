package redisbackend

import (
	"bufio"
	"context"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
)

const (
	// sendAtOnce is how much is copied together before it is sent.
	sendAtOnce = 64 << 10
	// copyAtMost is the largest value that is copied. A larger one is sent from
	// where it is, with what else there is by one writev.
	copyAtMost = 16 << 10
	// receiveBuffer is go-redis's, too.
	receiveBuffer = 32 << 10
)

// wire is a connection that serves one call at a time: the call itself sends
// its commands and reads the answers (Redis, "RESP protocol spec"). After an error
// that is neither a refusal nor redis.Nil it is unusable.
type wire struct {
	parser
	conn *conn
	call call
	out  []byte // not sent yet
	lent []loan // values that belong into it
	owed int    // their bytes
	err  error  // of sending
	born time.Time
	used time.Time // when it last served somebody

	copies  int // values of so many bytes are copied
	vectors net.Buffers
	left    net.Buffers // of vectors
}

// loan is a value of the caller's that is sent before the byte at that place.
type loan struct {
	at    int
	value []byte
}

func newWire(c *conn, now time.Time) *wire {
	x := &wire{parser: parser{bufio.NewReaderSize(c, receiveBuffer)}, conn: c, born: now, used: now, copies: sendAtOnce}
	if c.vectored() {
		x.copies = copyAtMost
	}
	return x
}

// begin has x serve a call that ends with ctx, but after limit at the latest.
func (x *wire) begin(ctx context.Context, now time.Time, limit time.Duration) error {
	x.call = call{Context: ctx, deadline: ending(ctx, now, limit)}
	return x.conn.serve(&x.call, now)
}

// end has x serve nobody.
func (x *wire) end() {
	x.call.Context = context.Background()
	x.used = time.Now()
	if cap(x.out) > 2*sendAtOnce {
		x.out = nil
	}
}

// close ends the connection, by a reset if there may be something under way.
func (x *wire) close(reset bool) {
	if reset {
		x.conn.unanswered.Store(true)
	}
	_ = x.conn.Close()
}

// command begins a command of n strings, of which its name is the first.
func (x *wire) command(n int, name string) {
	x.out = append(strconv.AppendInt(append(x.out, '*'), int64(n), 10), "\r\n"...)
	x.string(name)
}

func (x *wire) string(s string) { x.out = bulk(x.out, s) }

func (x *wire) number(n int64) {
	var text [20]byte
	x.out = bulk(x.out, strconv.AppendInt(text[:0], n, 10))
}

func (x *wire) bytes(v []byte) {
	if len(v) <= x.copies {
		x.out = bulk(x.out, v)
		return
	}
	x.out = append(strconv.AppendInt(append(x.out, '$'), int64(len(v)), 10), "\r\n"...)
	x.lent = append(x.lent, loan{len(x.out), v})
	x.owed += len(v)
	x.out = append(x.out, "\r\n"...)
}

// ended makes room for the next command of many.
func (x *wire) ended() {
	if len(x.out) >= sendAtOnce || x.owed >= 2*sendAtOnce {
		_ = x.send()
	}
}

// send sends what is not sent yet. From then on nothing of a caller's is held.
func (x *wire) send() error {
	switch {
	case x.err != nil || len(x.out) == 0:
	case len(x.lent) == 0:
		_, x.err = x.conn.Write(x.out)
	default:
		x.sendLent()
	}
	clear(x.lent)
	x.out, x.lent, x.owed = x.out[:0], x.lent[:0], 0
	return x.err
}

func (x *wire) sendLent() {
	from := 0
	for _, l := range x.lent {
		x.vectors = append(x.vectors, x.out[from:l.at], l.value)
		from = l.at
	}
	x.vectors = append(x.vectors, x.out[from:])
	x.left = x.vectors
	x.err = x.conn.writeAll(&x.left)
	clear(x.vectors)
	x.vectors, x.left = x.vectors[:0], nil
}

// readBytes reads a string, which the caller owns, or redis.Nil.
func (x *wire) readBytes(limit int) ([]byte, error) { return x.readInto(limit, alloc) }

func alloc(size int) []byte { return make([]byte, size) }

// readInto is readBytes into what room returns.
func (x *wire) readInto(limit int, room func(size int) []byte) ([]byte, error) {
	kind, n, line, err := x.header()
	switch {
	case err != nil:
		return nil, err
	case kind == '-':
		return nil, refusal(line)
	case kind == '_' || kind == '$' && n < 0:
		return nil, redis.Nil
	case kind != '$':
		return nil, errReply
	case n > int64(limit):
		return nil, errReplyTooLarge
	}
	v := room(int(n) + 2)
	if _, err := io.ReadFull(x.r, v); err != nil {
		return nil, unexpected(err)
	}
	if v[n] != '\r' || v[n+1] != '\n' {
		return nil, errReply
	}
	return v[:n:n], nil
}

// any adds a command of strings, byte slices and numbers.
func (x *wire) any(args []any) {
	x.command(len(args), args[0].(string))
	for _, arg := range args[1:] {
		switch v := arg.(type) {
		case string:
			x.string(v)
		case []byte:
			x.bytes(v)
		case int:
			x.number(int64(v))
		case int64:
			x.number(v)
		}
	}
}

// readNumber reads an integer, OK as 0, or redis.Nil.
func (x *wire) readNumber() (int64, error) {
	kind, n, line, err := x.header()
	switch {
	case err != nil:
		return 0, err
	case kind == '-':
		return 0, refusal(line)
	case kind == '_' || kind == '$' && n < 0:
		return 0, redis.Nil
	case kind == '+':
		return 0, nil
	case kind != ':':
		return 0, errReply
	}
	if n, err = strconv.ParseInt(string(line), 10, 64); err != nil {
		return 0, errReply
	}
	return n, nil
}

// readArray reads the beginning of an array of n elements.
func (x *wire) readArray(n int) error {
	kind, got, line, err := x.header()
	switch {
	case err != nil:
		return err
	case kind == '-':
		return refusal(line)
	case kind != '*' || got != int64(n):
		return errReply
	}
	return nil
}

// usable reports whether a connection on which err was met can serve others.
func usable(err error) bool {
	if _, refused := err.(refusal); refused {
		return true
	}
	return err == nil || err == redis.Nil || err == backends.ErrNotFound
}

// stale reports whether err is that of a connection which was dead before the
// call: it had served somebody, and nothing came.
func (x *wire) stale(err error) bool {
	return !usable(err) && !isTimeout(err) && x.conn.unanswered.Load() && x.used.After(x.born)
}

// about adds a command of which the key is all.
func (x *wire) about(name, key string) {
	x.command(2, name)
	x.string(key)
}

func (x *wire) set(key string, value []byte, ttl time.Duration) {
	if ttl == backends.NoExpiry {
		x.command(3, "set")
	} else {
		x.command(5, "set")
	}
	x.string(key)
	x.bytes(value)
	if ttl != backends.NoExpiry {
		x.string("px")
		x.number(milliseconds(ttl))
	}
}

// readEntry reads the answers to GET and PTTL.
func (x *wire) readEntry(limit int) (backends.Entry, error) {
	v, err := x.readBytes(limit)
	if !usable(err) {
		return backends.Entry{}, err
	}
	ms, refused := x.readNumber()
	if err == nil || !usable(refused) {
		err = refused
	}
	if err != nil {
		return backends.Entry{}, err
	}
	left, err := remaining(ms)
	if err != nil {
		return backends.Entry{}, err
	}
	return backends.Entry{Value: v, TTL: left}, nil
}
