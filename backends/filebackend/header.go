package filebackend

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"strings"
	"time"

	"golang.org/x/crypto/blake2b"

	"github.com/cachekit-io/cachekit-go/backends"
)

// The header of a file (spec/file-backend-format.md, "Header").
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
	stateForeign // flags or a reserved byte of another version: hands off
	stateCorrupt
)

// header is a parsed header; expiry is in Unix seconds, 0 for never.
type header struct {
	state  state
	expiry uint64
}

// parseHeader reads the header at the start of b as of now. An entry is expired
// from the second of its expiry on.
func parseHeader(b []byte, now time.Time) header {
	switch {
	case len(b) < headerSize || b[0] != 'C' || b[1] != 'K' || b[2] != formatVersion:
		return header{state: stateCorrupt}
	case b[3] != 0 || b[4] != 0 || b[5] != 0:
		return header{state: stateForeign}
	}
	h := header{stateLive, binary.BigEndian.Uint64(b[expiryOffset:])}
	if h.expiry != 0 && now.Unix() >= 0 && uint64(now.Unix()) >= h.expiry {
		h.state = stateExpired
	}
	return h
}

// appendHeader appends the header of an entry that expires at expiry.
func appendHeader(dst []byte, expiry uint64) []byte {
	dst = append(dst, 'C', 'K', formatVersion, 0, 0, 0)
	return binary.BigEndian.AppendUint64(dst, expiry)
}

// expiryOf returns the second in which an entry written at now expires, rounded
// up: an entry never goes early.
func expiryOf(now time.Time, ttl time.Duration) (uint64, error) {
	switch {
	case ttl == backends.NoExpiry:
		return 0, nil
	case ttl <= 0:
		return 0, backends.ErrTTL
	}
	seconds, nanos := now.Unix(), int64(now.Nanosecond())
	seconds += int64(ttl / time.Second)
	if nanos += int64(ttl % time.Second); nanos > 0 {
		seconds += (nanos + int64(time.Second) - 1) / int64(time.Second)
	}
	return uint64(max(seconds, 1)), nil
}

// ttl returns the time left of a live entry.
func (h header) ttl(now time.Time) time.Duration {
	if h.expiry == 0 || h.expiry > math.MaxInt64/2 {
		return backends.NoExpiry
	}
	seconds := int64(h.expiry) - now.Unix()
	if seconds > int64(math.MaxInt64/time.Second)-1 {
		return backends.NoExpiry
	}
	return time.Duration(seconds)*time.Second - time.Duration(now.Nanosecond())
}

// fileName is the name of the file of key: BLAKE2b-128 in lower-case hex
// (spec/file-backend-format.md, "File name").
func fileName(key string) string {
	h, err := blake2b.New(16, nil)
	if err != nil {
		panic("filebackend: blake2b refused a 16-byte digest: " + err.Error())
	}
	h.Write([]byte(key))
	return hex.EncodeToString(h.Sum(nil))
}

// isEntryName reports whether name is one that fileName makes.
func isEntryName(name string) bool {
	if len(name) != 32 {
		return false
	}
	for i := range len(name) {
		if c := name[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// isTempName reports whether name is a temporary file of this package or of a
// sister SDK: "<entry name>.tmp.<anything>".
func isTempName(name string) bool {
	return len(name) > 32 && isEntryName(name[:32]) && strings.HasPrefix(name[32:], ".tmp.")
}
