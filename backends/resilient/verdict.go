package resilient

import (
	"context"
	"errors"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

// verdict is what a call says of the storage.
type verdict uint8

const (
	silent   verdict = iota // nothing
	answered                // it is there
	failed                  // it is not
)

// hopeless is how long a storage may leave a call unanswered (or a beat less)
// before the end of the caller's context counts against it.
const hopeless = time.Second

// partial is the failure of some keys of a batch, others of which were answered.
type partial struct{ error }

func (p partial) Unwrap() error { return p.error }

// final is a failure that is not retried because a newer write has begun.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

// judge draws the verdict from the last error of a call.
func (b *Backend) judge(err error, c *call) verdict {
	if err == nil || err == backends.ErrNotFound {
		return answered
	}
	switch {
	case errors.Is(err, backends.ErrNotFound), errors.Is(err, backends.ErrLocked):
		return answered
	case errors.Is(err, context.DeadlineExceeded) && c.ours:
		return failed
	}
	if _, ok := errors.AsType[partial](err); ok {
		return answered
	}
	if e, ok := errors.AsType[*backends.Error](err); ok {
		switch e.Kind {
		case backends.Transient, backends.Timeout:
			return failed
		case backends.Permanent, backends.Auth:
			return answered
		}
		return silent
	}
	if isContext(err) && b.pulse.since(c.began) >= hopeless {
		return failed
	}
	return silent
}

// passing returns the failure that a retry may mend, or nil.
func passing(err error) *backends.Error {
	if err == nil || err == backends.ErrNotFound {
		return nil
	}
	if _, ok := err.(final); ok {
		return nil
	}
	e, ok := errors.AsType[*backends.Error](err)
	if ok && (e.Kind == backends.Transient || e.Kind == backends.Timeout) {
		return e
	}
	return nil
}

func isContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
