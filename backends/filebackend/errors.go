package filebackend

import (
	"context"
	"errors"
	"syscall"

	"github.com/cachekit-io/cachekit-go/backends"
)

// backendType is how errors and Health name this storage.
const backendType = "file"

var (
	errTooLarge = errors.New("the value is larger than Options.MaxValueBytes")
	// errForeign is a name that is taken by something other than a regular
	// file of this user: a link, a FIFO, a device, another user's file.
	errForeign  = errors.New("the file of the entry is not a regular file of this user: remove it by hand")
	errReadBack = errors.New("a file that was just written reads back differently")
	// errAbandoned ends a call whose caller has gone; nobody sees it.
	errAbandoned = errors.New("the call was abandoned")
	// errHandOver ends a call in place that may take longer than its context;
	// it is made again in another goroutine. Nobody sees it.
	errHandOver = errors.New("the call does not run in its caller's goroutine")
)

// wrap gives an error its kind. Of an operating system's error only the number
// is kept: a path would hold the name of the file, which stands for the key.
func wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	var number syscall.Errno
	kind := backends.Transient
	switch {
	case errors.Is(err, backends.ErrNotFound), errors.Is(err, backends.ErrLocked),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, errTooLarge):
		kind = backends.TooLarge
	case errors.Is(err, errForeign), errors.Is(err, ErrUnsafe):
		kind = backends.Permanent
	case errors.As(err, &number):
		kind, err = kindOf(number), number
	}
	return &backends.Error{Op: op, Backend: backendType, Kind: kind, Err: err}
}

// kindOf says what helps. A full disk counts as an outage (Transient), as in the
// sister SDKs: someone or the bound of a neighbour may free space.
func kindOf(number syscall.Errno) backends.Kind {
	switch number {
	case syscall.EFBIG:
		return backends.TooLarge
	case syscall.ETIMEDOUT:
		return backends.Timeout
	case syscall.EMFILE, syscall.ENFILE:
		return backends.Overload
	case syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.ENOTDIR, syscall.EISDIR, syscall.ELOOP,
		syscall.EINVAL, syscall.ENAMETOOLONG, syscall.ENOTSUP, syscall.ENOSYS:
		return backends.Permanent
	}
	return backends.Transient
}

// missing turns what reads as a miss into ErrNotFound.
func missing(err error) error {
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, errForeign) {
		return backends.ErrNotFound
	}
	return err
}

// missIsFalse is for the operations that answer a miss with false.
func missIsFalse(err error) error {
	if errors.Is(err, backends.ErrNotFound) {
		return nil
	}
	return err
}
