package httpbackend

import (
	"encoding/binary"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

// Format is how a TTL is written. The zero value is the default.
type Format uint8

const (
	// Seconds is a whole number of seconds, rounded up.
	Seconds Format = iota + 1
	// Milliseconds is a whole number of milliseconds, rounded up.
	Milliseconds
	// MaxAge is "max-age=" and seconds, as in Cache-Control (RFC 9111, 5.2).
	MaxAge
	// HTTPDate is the time of the end in GMT, as in Expires (RFC 9110, 5.6.7).
	HTTPDate
	// UnixSeconds is the time of the end in seconds since 1970.
	UnixSeconds
)

// format writes ttl, which is no NoExpiry, rounded up.
func (f Format) format(ttl time.Duration, now time.Time) string {
	switch f {
	case Milliseconds:
		return strconv.FormatInt(ceil(ttl, time.Millisecond), 10)
	case MaxAge:
		return "max-age=" + strconv.FormatInt(ceil(ttl, time.Second), 10)
	case HTTPDate:
		return time.Unix(endSeconds(ttl, now), 0).UTC().Format(http.TimeFormat)
	case UnixSeconds:
		return strconv.FormatInt(endSeconds(ttl, now), 10)
	}
	return strconv.FormatInt(ceil(ttl, time.Second), 10)
}

// parse reads what format wrote, or a server in its way. The result is 0 if text
// is nothing of the kind or in the past.
func (f Format) parse(text string, now time.Time) time.Duration {
	switch f {
	case HTTPDate:
		at, err := http.ParseTime(text)
		if err != nil {
			return 0
		}
		return max(at.Sub(now), 0)
	case MaxAge:
		for _, part := range strings.Split(text, ",") {
			if age, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(part)), "max-age="); ok {
				return Seconds.parse(age, now)
			}
		}
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	switch f {
	case Milliseconds:
		return times(n, time.Millisecond)
	case UnixSeconds:
		return max(times(n-now.Unix(), time.Second), 0)
	}
	return times(n, time.Second)
}

// times multiplies without overflow; what does not fit is NoExpiry.
func times(n int64, unit time.Duration) time.Duration {
	if n > int64(backends.NoExpiry/unit) {
		return backends.NoExpiry
	}
	return time.Duration(n) * unit
}

func ceil(d, unit time.Duration) int64 {
	n := int64(d / unit)
	if d%unit != 0 {
		n++
	}
	return n
}

func endSeconds(ttl time.Duration, now time.Time) int64 {
	s := now.Unix() + int64(ttl/time.Second)
	if rest := ttl%time.Second + time.Duration(now.Nanosecond()); rest > 0 {
		s += ceil(rest, time.Second)
	}
	return s
}

// A frame is the magic and the end of the entry in milliseconds since 1970, 0
// for never.
const (
	frameMagic = "CKH1"
	frameBytes = len(frameMagic) + 8
)

var errFrame = errors.New("the stored value does not begin with the frame that holds its expiry: it was written by something else, or with other options")

// frame returns value behind its frame.
func frame(value []byte, ttl time.Duration, now time.Time) []byte {
	var end uint64
	if ttl != backends.NoExpiry {
		begin := now.UnixMilli()
		if now.Nanosecond()%int(time.Millisecond) != 0 {
			begin++
		}
		end = uint64(begin + ceil(ttl, time.Millisecond))
	}
	b := make([]byte, 0, frameBytes+len(value))
	b = append(b, frameMagic...)
	b = binary.BigEndian.AppendUint64(b, end)
	return append(b, value...)
}

// unframe returns the value and its TTL left. An expired one is ErrNotFound.
func unframe(b []byte, now time.Time) ([]byte, time.Duration, error) {
	if len(b) < frameBytes || string(b[:len(frameMagic)]) != frameMagic {
		return nil, 0, errFrame
	}
	end := binary.BigEndian.Uint64(b[len(frameMagic):])
	value := b[frameBytes:]
	if end == 0 {
		return value, backends.NoExpiry, nil
	}
	left := remaining(end, now)
	if left <= 0 {
		return nil, 0, backends.ErrNotFound
	}
	return value, left, nil
}

// remaining saturates: a frame is not authenticated.
func remaining(end uint64, now time.Time) time.Duration {
	const far = uint64(1) << 62
	at := now.UnixMilli()
	if end > far {
		return backends.NoExpiry
	}
	if end <= uint64(max(at, 0)) {
		return 0
	}
	return times(int64(end)-at, time.Millisecond)
}
