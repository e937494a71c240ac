package cachekitio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
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

// TTL implements [backends.TTLer]. It is what is left until the entry is gone,
// the stale window included.
func (b *Backend) TTL(ctx context.Context, key string) (time.Duration, error) {
	r, err := of("ttl", http.MethodGet, key, "/ttl")
	if err != nil {
		return 0, err
	}
	resp, err := b.found(ctx, r)
	if err != nil {
		return 0, err
	}
	return remaining(resp.Body)
}

// remaining reads an answer about a TTL: seconds, or null for no expiry.
func remaining(body []byte) (time.Duration, error) {
	var answer struct {
		TTL json.RawMessage `json:"ttl"`
	}
	bad := failure("ttl", backends.Transient, errAnswer)
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.TTL) == 0 {
		return 0, bad
	}
	if string(answer.TTL) == "null" {
		return backends.NoExpiry, nil
	}
	n, err := strconv.ParseInt(string(answer.TTL), 10, 64)
	if err != nil || n < 0 {
		return 0, bad
	}
	// A server rounds up, so that 0 is none of its answers; an entry that is
	// still there has some time left.
	return time.Duration(min(max(n, 1), maxTTLSeconds)) * time.Second, nil
}

// Touch implements [backends.TTLer] for entries in their fresh window; ErrStale,
// of kind Permanent, is the answer for one past it. A stale window that the
// entry has stays as it is; if that makes the sum exceed 30 days, the service
// refuses. NoExpiry is refused, also as Permanent.
func (b *Backend) Touch(ctx context.Context, key string, ttl time.Duration) (existed bool, err error) {
	r, err := of("touch", http.MethodPatch, key, "/ttl")
	if err != nil {
		return false, err
	}
	if ttl == backends.NoExpiry {
		return false, failure("touch", backends.Permanent, errNoExpiry)
	}
	n, err := seconds(ttl)
	if err != nil {
		return false, err
	}
	r.body, r.content = fmt.Appendf(nil, `{"ttl":%d}`, n), jsonType
	resp, err := b.send(ctx, r)
	switch {
	case err != nil:
		return false, err
	case resp.Status == http.StatusNotFound:
		return false, nil
	case resp.Status == http.StatusConflict:
		return false, failure("touch", backends.Permanent, ErrStale)
	case !success(resp):
		return false, refusal("touch", resp)
	}
	// 200 is the answer for a missing entry too.
	r, _ = of("touch", http.MethodHead, key, "")
	return present(b.found(ctx, r))
}

// present turns a miss into false.
func present[T any](_ T, err error) (bool, error) {
	if errors.Is(err, backends.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
