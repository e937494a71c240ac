package cachekitio

import (
	"fmt"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

// maxTTLSeconds is the longest TTL, and the longest TTL and stale window
// together: 30 days (spec/saas-api.md, "TTL Validation Rules").
const maxTTLSeconds = 2_592_000

// seconds is ttl in whole seconds, rounded up. The error is ErrTTL.
func seconds(ttl time.Duration) (int64, error) {
	if ttl <= 0 {
		return 0, backends.ErrTTL
	}
	s := ceil(ttl)
	if s > maxTTLSeconds {
		return 0, fmt.Errorf("%w: CachekitIO keeps an entry for 30 days at most, unless it has no expiry", backends.ErrTTL)
	}
	return s, nil
}

func ceil(d time.Duration) int64 {
	s := int64(d / time.Second)
	if d%time.Second > 0 {
		s++
	}
	return s
}

// staleSeconds is the stale window to send with a TTL of ttl seconds.
func staleSeconds(stale time.Duration, ttl int64) int64 {
	return min(ceil(stale), maxTTLSeconds-ttl)
}
