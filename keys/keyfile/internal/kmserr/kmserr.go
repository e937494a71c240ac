// Package kmserr keeps the text of a KMS, which may quote requests, policies and
// addresses, out of our errors, and its error within reach of errors.As.
package kmserr

import (
	"context"
	"errors"
	"fmt"
)

// Error is a failure of a KMS.
type Error struct {
	class, cause error
}

// New returns an error of class (keyfile.ErrKMS) because of cause.
func New(class, cause error) error { return &Error{class, cause} }

// Error shows the class, and of the cause its code and its type.
func (e *Error) Error() string {
	var coded interface{ ErrorCode() string }
	switch {
	case errors.As(e.cause, &coded) && isCode(coded.ErrorCode()):
		return fmt.Sprintf("%v: it answered %s", e.class, coded.ErrorCode())
	case errors.Is(e.cause, context.DeadlineExceeded):
		return fmt.Sprintf("%v: it did not answer in time", e.class)
	case errors.Is(e.cause, context.Canceled):
		return fmt.Sprintf("%v: the call was cancelled", e.class)
	}
	return fmt.Sprintf("%v: unwrap this error for what its client says (%T)", e.class, e.cause)
}

// Unwrap returns the class and the cause.
func (e *Error) Unwrap() []error { return []error{e.class, e.cause} }

func isCode(s string) bool {
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '.' {
			return false
		}
	}
	return s != "" && len(s) <= 64
}
