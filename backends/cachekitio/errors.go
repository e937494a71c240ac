package cachekitio

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/guard"
)

// backendType is what errors and health reports call this storage.
const backendType = "cachekitio"

var (
	// ErrStale refuses a new TTL for an entry that is past its old one and only
	// still there to be replaced: Set a new value.
	ErrStale = errors.New("the entry is stale: only a new value makes it fresh")

	errNoExpiry = errors.New("the API cannot take an expiry away: Set the value again without one")
	errTooLarge = errors.New("the value is larger than Options.MaxValueBytes")
	errAnswer   = errors.New("the answer is not of the API's form")
)

// StatusError is an answer of the service that is no success, reduced to its
// status.
type StatusError struct {
	// Code is the HTTP status.
	Code int
	// QuotaSpent is true for a 429 that no wait for the rate limit clears: the
	// tenant's quota or balance is used up. It is a failure of kind Permanent, so
	// nothing retries it and no breaker counts it; every call fails so until the
	// quota is renewed. (cachekit-rs 0.13.1 does not retry it either, and calls it
	// transient.)
	QuotaSpent bool
}

// Error names the status and what to do about it.
func (e *StatusError) Error() string {
	text := fmt.Sprintf("HTTP status %d", e.Code)
	if name := http.StatusText(e.Code); name != "" {
		text += " (" + name + ")"
	}
	if e.QuotaSpent {
		return text + ": the quota or balance of the tenant is used up"
	}
	if hint := hints[e.Code]; hint != "" {
		text += ": " + hint
	}
	return text
}

var hints = map[int]string{
	http.StatusBadRequest:            "the service refuses the key, the TTL or a header",
	http.StatusUnauthorized:          "the API key is unknown or revoked",
	http.StatusForbidden:             "the API key may not use this namespace or write this key",
	http.StatusNotFound:              "is Options.URL the root of the service?",
	http.StatusRequestEntityTooLarge: "the value is larger than the service stores",
	http.StatusTooManyRequests:       "the rate limit is reached",
}

// Headers of answers that errors depend on.
const denyHeader = "X-Cachekit-Deny-Reason" // read by cachekit-rs 0.13.1

// refusal is the error of an answer that is no success.
func refusal(op string, resp *guard.Response) error {
	e := &StatusError{Code: resp.Status}
	kind := kindOf(resp.Status)
	if resp.Status == http.StatusTooManyRequests {
		if _, e.QuotaSpent = resp.Header[denyHeader]; e.QuotaSpent {
			kind = backends.Permanent
		}
	}
	return &backends.Error{Op: op, Backend: backendType, Kind: kind, RetryAfter: guard.RetryAfter(resp.Header, time.Now()), Err: e}
}

// kindOf follows spec/saas-api.md, "Error Classification", but for a spent quota;
// a redirect is never followed and thus no better than a refusal.
func kindOf(status int) backends.Kind {
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return backends.Auth
	case status == http.StatusRequestEntityTooLarge:
		return backends.TooLarge
	case status == http.StatusTooManyRequests || status >= 500:
		return backends.Transient
	}
	return backends.Permanent
}

func failure(op string, kind backends.Kind, cause error) error {
	return &backends.Error{Op: op, Backend: backendType, Kind: kind, Err: cause}
}
