package memcachedbackend

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/cachekit-io/cachekit-go/backends"
)

// backendType is what errors and health reports call this storage.
const backendType = "memcached"

// ServerError is the refusal of a memcached server, reduced to its kind: the
// text after it can repeat a command with its key.
type ServerError struct {
	// Code is the first word of the answer: "ERROR", "CLIENT_ERROR" or
	// "SERVER_ERROR" (memcached's doc/protocol.txt, "Error strings").
	Code string
	// Hint is a fixed text of this package that says what the answer means, or
	// "" where it is not known.
	Hint string
}

// Error names the code and the hint.
func (e *ServerError) Error() string {
	if e.Hint == "" {
		return "server answered " + e.Code
	}
	return "server answered " + e.Code + ": " + e.Hint
}

// ConfigError refuses a list of servers or an option. Its text says what to
// change; it names a server by its place in the list and never repeats it.
type ConfigError struct {
	Reason string
}

// Error says what to change.
func (e *ConfigError) Error() string { return "memcachedbackend: " + e.Reason }

var (
	errReplyTooLarge = errors.New("the stored value is larger than Options.MaxValueBytes")
	errValueTooLarge = errors.New("the value is larger than Options.MaxValueBytes")
	errReply         = errors.New("malformed reply")
	errNoCAS         = errors.New("the server keeps no CAS numbers: it was started with -C")
	errOldServer     = errors.New("the server knows no meta commands (memcached 1.6): set Options.ClassicProtocol")
	errNoMeta        = errors.New("Options.ClassicProtocol rules out meta commands, without which this cannot be done")
)

// refusal reads an answer that is an error, or returns nil. The texts are those
// of memcached 1.4 to 1.6 (proto_text.c, memcached.c).
func refusal(line []byte) *ServerError {
	code, text, _ := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(" "))
	switch string(code) {
	case "ERROR", "CLIENT_ERROR", "SERVER_ERROR":
		return &ServerError{Code: string(code), Hint: hint(text)}
	}
	return nil
}

const (
	hintTooLarge = "the item is larger than its limit (-I, 1 MiB unless set)"
	hintMemory   = "its memory is used up and nothing can be evicted"
	hintAuth     = "it wants a login, which this package does not speak"
	hintConns    = "it has too many connections"
)

func hint(text []byte) string {
	switch {
	case bytes.HasPrefix(text, []byte("object too large")):
		return hintTooLarge
	case bytes.HasPrefix(text, []byte("out of memory")):
		return hintMemory
	case bytes.HasPrefix(text, []byte("unauthenticated")):
		return hintAuth
	case bytes.HasPrefix(text, []byte("Too many open connections")):
		return hintConns
	}
	return ""
}

// fail turns an error of a call into one of the contract.
func fail(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	var known *backends.Error
	switch {
	case errors.Is(err, memcache.ErrCacheMiss), errors.Is(err, backends.ErrNotFound):
		return backends.ErrNotFound
	case errors.Is(err, backends.ErrLocked), errors.Is(err, backends.ErrClosed), errors.As(err, &known):
		return err
	}
	if ended := contextError(ctx, err); ended != nil {
		return ended
	}
	kind, cause := classify(err)
	return &backends.Error{Op: op, Backend: backendType, Kind: kind, Err: cause}
}

// contextError returns the error of ctx if that is what ended the call. The
// socket's deadline can strike an instant before the timer of the context.
func contextError(ctx context.Context, err error) error {
	if ended := ctx.Err(); ended != nil {
		return ended
	}
	if d, ok := ctx.Deadline(); ok && isTimeout(err) && !time.Now().Before(d) {
		return context.DeadlineExceeded
	}
	return nil
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &n) && n.Timeout()
}

func classify(err error) (backends.Kind, error) {
	var answer *ServerError
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.As(err, &answer):
		return classifyAnswer(answer), err
	case errors.As(err, &untrusted):
		return backends.Permanent, err
	case errors.Is(err, errReplyTooLarge), errors.Is(err, errValueTooLarge):
		return backends.TooLarge, err
	case errors.Is(err, errNoCAS), errors.Is(err, errNoMeta), errors.Is(err, errOldServer):
		return backends.Permanent, err
	case isTimeout(err):
		return backends.Timeout, err
	}
	return backends.Transient, err
}

func classifyAnswer(answer *ServerError) backends.Kind {
	switch answer.Hint {
	case hintTooLarge:
		return backends.TooLarge
	case hintMemory:
		return backends.Overload
	case hintAuth:
		return backends.Auth
	case hintConns:
		return backends.Transient
	}
	if answer.Code == "SERVER_ERROR" {
		return backends.Transient
	}
	return backends.Permanent
}

// lost reports whether err says that the connection has ended.
func lost(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed)
}
