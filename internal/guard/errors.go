package guard

//lint:file-ignore SA1019 golang.org/x/net/http2 is deprecated in favour of net/http; see http2.go.

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/http2"

	"github.com/cachekit-io/cachekit-go/backends"
)

var (
	errTimeout = errors.New("no answer within the backend's own time limit")
	errTarget  = errors.New("the target of a request must begin with one slash")
	errNotTLS  = errors.New("the server does not speak TLS at this port: is it an http server?")
	errCut     = errors.New("the connection ended before the answer was complete")
	errLost    = errors.New("the connection was lost")
	errAnswer  = errors.New("there was no well-formed answer")
)

// explain turns the error of an attempt into one that may be shown: texts of
// net/http repeat what a server said, which can be what it was sent.
func (t *Transport) explain(ctx, limited context.Context, err error) error {
	if ended := ctx.Err(); ended != nil {
		return ended
	}
	if t.isClosed() {
		return errClosed
	}
	if limited.Err() != nil {
		if d, ok := ctx.Deadline(); ok && !time.Now().Before(d) {
			return context.DeadlineExceeded // an instant before ctx's own timer
		}
		return errTimeout
	}
	return clean(err)
}

func clean(err error) error {
	var (
		address *AddressError
		cert    *tls.CertificateVerificationError
		header  tls.RecordHeaderError
		alert   tls.AlertError
		op      *net.OpError
		stream  http2.StreamError
		goAway  http2.GoAwayError
		code    http2.ConnectionError
		errno   syscall.Errno
	)
	switch {
	case errors.As(err, &address):
		return address
	case errors.As(err, &cert):
		return cert
	case errors.As(err, &header):
		return errNotTLS
	case errors.As(err, &alert):
		return alert
	case errors.Is(err, ErrTooLarge), errors.Is(err, errEncoding), errors.Is(err, errProxy), errors.Is(err, errTarget):
		return err
	case errors.Is(err, net.ErrClosed):
		return errLost
	case errors.Is(err, context.DeadlineExceeded): // package net's own timeouts are that too
		return errTimeout
	case errors.As(err, &op):
		return op
	case errors.As(err, &stream):
		return httpError("ended the stream", stream.Code)
	case errors.As(err, &goAway):
		return httpError("ended the connection", goAway.ErrCode)
	case errors.As(err, &code):
		return httpError("broke the protocol", http2.ErrCode(code))
	case errors.As(err, &errno):
		return errno
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errCut
	case strings.HasPrefix(err.Error(), "http2: client conn"):
		return errLost
	}
	return errAnswer
}

func httpError(what string, code http2.ErrCode) error {
	return errors.New("the server " + what + ": " + code.String())
}

// Failure makes an error of [Transport.Do] a *backends.Error, except those that
// the contract passes through: the error of the context and ErrClosed. ctx is
// that of the call.
func Failure(ctx context.Context, backend, op string, err error) error {
	if err == nil || errors.Is(err, backends.ErrClosed) || ctx.Err() != nil && errors.Is(err, ctx.Err()) ||
		errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, errTimeout) {
		return err
	}
	return &backends.Error{Op: op, Backend: backend, Kind: kindOf(err), Err: err}
}

func kindOf(err error) backends.Kind {
	var cert *tls.CertificateVerificationError
	var timeout net.Error
	switch {
	case errors.Is(err, ErrTooLarge):
		return backends.TooLarge
	case errors.Is(err, ErrAddress), errors.As(err, &cert), errors.Is(err, errNotTLS), errors.Is(err, errTarget), errors.Is(err, errEncoding):
		return backends.Permanent
	case errors.Is(err, errTimeout), errors.As(err, &timeout) && timeout.Timeout():
		return backends.Timeout
	}
	return backends.Transient
}

// RetryAfter returns how long a server asks to wait (RFC 9110, 10.2.3): seconds
// or a date, at most one day, 0 if it does not ask.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	const longest = 24 * time.Hour
	text := h.Get("Retry-After")
	if text != "" && strings.Trim(text, "0123456789") == "" {
		if len(text) > 6 {
			return longest
		}
		var n time.Duration
		for _, c := range text {
			n = 10*n + time.Duration(c-'0')
		}
		return min(n*time.Second, longest)
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), longest)
}
