package faults_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/cachekit-io/cachekit-go/internal/flight"
	"github.com/cachekit-io/cachekit-go/secure"
)

// value describes itself: whoever reads it can tell whether it belongs to its
// key and is whole.
type value struct {
	Key     string
	Version int64
	Data    []byte
}

// newValue makes the one value that key has in a version.
func newValue(key string, version int64) value {
	seed := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d", key, version))
	size := 16 + int(seed[0])*8 // 16 to 2056 bytes
	if seed[1] < 16 {
		size *= 16
	}
	data := make([]byte, size)
	_, _ = rand.NewChaCha8(seed).Read(data)
	return value{key, version, data}
}

// isOf reports whether v is a value of key, of any version.
func (v value) isOf(key string) bool {
	return v.Key == key && bytes.Equal(v.Data, newValue(key, v.Version).Data)
}

// classOf names what a call returned, in the words of docs/faults.md.
func classOf(err error) string {
	var panicked *secure.PanicError
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &panicked):
		return "panic error"
	case errors.Is(err, errMine):
		return "the loader's error"
	case errors.Is(err, flight.ErrGoexit):
		return "loader exited"
	}
	for class, name := range map[error]string{
		secure.ErrUnavailable: "unavailable", secure.ErrAuth: "AUTH", secure.ErrMalformed: "MALFORMED", secure.ErrType: "TYPE",
		secure.ErrBackend: "refused", secure.ErrClosed: "closed", secure.ErrTooLarge: "too large", secure.ErrKey: "KEY", secure.ErrAbsent: "absent",
	} {
		if errors.Is(err, class) {
			return name
		}
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "deadline"
	case errors.Is(err, context.Canceled):
		return "canceled"
	}
	return "OTHER"
}

// errMine is what a loader of the tests returns.
var errMine = errors.New("mine")
