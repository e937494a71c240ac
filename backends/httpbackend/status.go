package httpbackend

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/guard"
)

// backendType is what errors and health reports call this storage.
const backendType = "http"

// Outcome is what the status of an answer means. The zero value is no outcome.
//
// By default 200, and 201 and 204 but for a read, are Success; 404 and 410 are
// Missing; 401, 403, 407 and 511 are Auth; 413 is TooLarge; 408, 425, 429 and the
// 500s are Transient, but 501 and 505; everything else is Permanent: redirects,
// which are not followed, and 202, which promises nothing.
type Outcome uint8

const (
	// Success: the call was carried out.
	Success Outcome = iota + 1
	// Missing: there is no entry.
	Missing
	// Transient, Permanent, Auth and TooLarge are failures of that
	// backends.Kind.
	Transient
	Permanent
	Auth
	TooLarge
)

var kinds = map[Outcome]backends.Kind{
	Transient: backends.Transient, Permanent: backends.Permanent, Auth: backends.Auth, TooLarge: backends.TooLarge,
}

// outcome returns what status means. read is true where the body is a value.
func (b *Backend) outcome(status int, read bool) Outcome {
	if o, ok := b.options.Status[status]; ok {
		return o
	}
	switch status {
	case http.StatusOK:
		return Success
	case http.StatusCreated, http.StatusNoContent:
		if !read {
			return Success
		}
	case http.StatusNotFound, http.StatusGone:
		return Missing
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired, http.StatusNetworkAuthenticationRequired:
		return Auth
	case http.StatusRequestEntityTooLarge:
		return TooLarge
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return Transient
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return Permanent
	}
	if status >= 500 && status <= 599 {
		return Transient
	}
	return Permanent
}

// StatusError is the refusal of a server, reduced to its status.
type StatusError struct {
	// Code is the status of the answer.
	Code int
}

// Error names the status.
func (e *StatusError) Error() string {
	text := http.StatusText(e.Code)
	if e.Code >= 300 && e.Code < 400 {
		text = "a redirect, which is not followed"
	}
	if text == "" {
		return fmt.Sprintf("server answered %d", e.Code)
	}
	return fmt.Sprintf("server answered %d: %s", e.Code, text)
}

// refusal is the error of an answer that is no success and no miss.
func refusal(op string, outcome Outcome, resp *guard.Response) error {
	return &backends.Error{
		Op: op, Backend: backendType, Kind: kinds[outcome],
		RetryAfter: guard.RetryAfter(resp.Header, time.Now()),
		Err:        &StatusError{resp.Status},
	}
}

var (
	errValueTooLarge = errors.New("the value is larger than Options.MaxValueBytes")
	errPanic         = errors.New("it panicked")
)

// AuthorizeError is the failure of Options.Authorize. Its text leaves the cause
// out, which is the program's own and may hold anything.
type AuthorizeError struct {
	Err error
}

// Error says that Options.Authorize failed.
func (e *AuthorizeError) Error() string { return "Options.Authorize failed" }

// Unwrap returns the cause.
func (e *AuthorizeError) Unwrap() error { return e.Err }

// authorize lets the program add to header, within ctx.
func (b *Backend) authorize(ctx context.Context, op string, header http.Header) error {
	done := make(chan error, 1)
	go func() {
		err := errPanic
		defer func() {
			_ = recover()
			done <- err
		}()
		err = b.options.Authorize(ctx, header)
	}()
	select {
	case err := <-done:
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		return &backends.Error{Op: op, Backend: backendType, Kind: backends.Auth, Err: &AuthorizeError{err}}
	case <-ctx.Done():
		return ctx.Err()
	}
}
