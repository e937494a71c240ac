package cachekitio

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

const (
	// maxLease bounds a lease as the API bounds a TTL.
	maxLease = maxTTLSeconds * time.Second
	// maxTokenBytes bounds the token that the service makes: a UUID.
	maxTokenBytes = 256
)

// Lock implements [backends.Locker]. The service makes the token. A lock whose
// answer was lost is held until its lease ends. Leases are rounded up to
// milliseconds and shortened to 30 days.
func (b *Backend) Lock(ctx context.Context, key string, lease time.Duration) (token string, err error) {
	r, err := of("lock", http.MethodPost, key, "/lock")
	if err != nil {
		return "", err
	}
	if lease <= 0 {
		return "", backends.ErrTTL
	}
	ms := (min(lease, maxLease) + time.Millisecond - 1) / time.Millisecond
	r.body, r.content = fmt.Appendf(nil, `{"timeout_ms":%d}`, ms), jsonType
	resp, err := b.send(ctx, r)
	switch {
	case err != nil:
		return "", err
	case resp.Status == http.StatusConflict: // of older servers
		return "", backends.ErrLocked
	case resp.Status != http.StatusOK:
		return "", refusal("lock", resp)
	}
	return lockID(resp.Body)
}

// lockID reads who got the lock: nobody new if there is no id in the answer.
func lockID(body []byte) (string, error) {
	var answer struct {
		ID *string `json:"lock_id"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", failure("lock", backends.Transient, errAnswer)
	}
	if answer.ID == nil || *answer.ID == "" {
		return "", backends.ErrLocked
	}
	if !token(*answer.ID) {
		return "", failure("lock", backends.Transient, errAnswer)
	}
	return *answer.ID, nil
}

// token reports whether s can be a header's value: visible ASCII.
func token(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= maxTokenBytes
}

// Unlock implements [backends.Locker]. The API does not tell whether the lock was
// held under token: released is true if the call succeeds. The token travels in
// a header, which servers do not log as they do URLs.
func (b *Backend) Unlock(ctx context.Context, key, lock string) (released bool, err error) {
	r, err := of("unlock", http.MethodDelete, key, "/lock")
	if err != nil {
		return false, err
	}
	if !token(lock) {
		return false, nil
	}
	r.headers[0] = header{lockIDHeader, lock}
	return b.removed(ctx, r)
}
