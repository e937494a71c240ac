package filebackend

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

// The header of a file (spec/file-backend-format.md, "Entry layout").
const (
	headerSize    = 14
	formatVersion = 1
	expiryOffset  = 6
)

// state is what a header says of its file.
type state uint8

const (
	stateLive state = iota + 1
	stateExpired
	// stateUnknown has flags or a reserved byte of another version (FILE-2,
	// FILE-3): it reads as a miss and is left alone.
	stateUnknown
	stateCorrupt
)

// header is a parsed header; expiry is in Unix seconds, 0 for never.
type header struct {
	state  state
	expiry uint64
	ttl    time.Duration // of a live entry: positive, or NoExpiry
}

// parseHeader reads the header at the start of b as of now. An entry is expired
// from the second of its expiry on.
func parseHeader(b []byte, now time.Time) header {
	switch {
	case len(b) < headerSize || b[0] != 'C' || b[1] != 'K' || b[2] != formatVersion:
		return header{state: stateCorrupt}
	case b[3] != 0 || b[4] != 0 || b[5] != 0:
		return header{state: stateUnknown}
	}
	h := header{state: stateLive, expiry: binary.BigEndian.Uint64(b[expiryOffset:])}
	if h.ttl = timeLeft(h.expiry, now); h.ttl <= 0 {
		h.state = stateExpired
	}
	return h
}

// timeLeft saturates at NoExpiry, and is not positive from the expiry on.
func timeLeft(expiry uint64, now time.Time) time.Duration {
	if expiry == 0 || expiry > math.MaxInt64 {
		return backends.NoExpiry
	}
	seconds := int64(expiry) - now.Unix()
	if seconds > math.MaxInt64/int64(time.Second)-1 || int64(expiry) > math.MaxInt64+min(now.Unix(), 0) {
		return backends.NoExpiry
	}
	return time.Duration(max(seconds, -1))*time.Second - time.Duration(now.Nanosecond())
}

// newHeader is the header of an entry that expires at expiry.
func newHeader(expiry uint64) []byte {
	h := make([]byte, 0, headerSize)
	h = append(h, 'C', 'K', formatVersion, 0, 0, 0)
	return binary.BigEndian.AppendUint64(h, expiry)
}

// expiryOf returns the second in which an entry written at now expires, rounded
// up: an entry never goes early. The sister SDKs round down.
func expiryOf(now time.Time, ttl time.Duration) (uint64, error) {
	switch {
	case ttl == backends.NoExpiry:
		return 0, nil
	case ttl <= 0:
		return 0, backends.ErrTTL
	}
	seconds := now.Unix() + int64(ttl/time.Second)
	nanos := int64(now.Nanosecond()) + int64(ttl%time.Second)
	seconds += (nanos + int64(time.Second) - 1) / int64(time.Second)
	return uint64(max(seconds, 1)), nil
}
