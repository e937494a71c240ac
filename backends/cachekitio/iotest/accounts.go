package iotest

import (
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cachekit-io/cachekit-go/backends/cachekitio"
)

// prefixes begin the API keys of each class (spec/saas-api.md, "Authentication").
var prefixes = map[cachekitio.Class]string{
	cachekitio.SDK:    "ck_sdk_",
	cachekitio.Direct: "ck_api_",
	cachekitio.Legacy: "ck_live_",
}

// Limits bounds the requests of a tenant; zero is no bound.
type Limits struct {
	// PerMinute is a rate: beyond it, 429 with Retry-After until the minute of
	// the server's clock is over.
	PerMinute int
	// Quota is a number of requests that no wait renews: beyond it, 429 with
	// X-CacheKit-Deny-Reason and no Retry-After.
	Quota int
}

// digest stands for an API key, so that looking one up takes the same time
// whatever part of it is right.
type digest [sha256.Size]byte

type account struct {
	class  cachekitio.Class
	tenant string
	// grants are the namespaces that the key may use; nil is all.
	grants []string
}

// tenant is what one customer has on the server.
type tenant struct {
	entries map[string]*entry
	locks   map[string]lock
	limits  Limits
	used    int
	minute  time.Time
	inside  int // requests of that minute
}

// NewKey issues an API key of a tenant, which begins to exist with its first key.
// With namespaces the key may read and write those alone; the namespace of keys
// without the prefix "ns:" or "nsapi:" is "default". It panics on a class that the
// service does not issue.
func (s *Server) NewKey(class cachekitio.Class, tenant string, namespaces ...string) string {
	prefix, known := prefixes[class]
	if !known {
		panic("iotest: NewKey: the service issues keys of the classes SDK, Direct and Legacy")
	}
	key := prefix + rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accounts[sha256.Sum256([]byte(key))] = account{class: class, tenant: tenant, grants: slices.Clone(namespaces)}
	s.tenant(tenant)
	return key
}

// Revoke makes the server answer 401 to a key from now on.
func (s *Server) Revoke(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.accounts, sha256.Sum256([]byte(key)))
}

// Limit bounds the requests of a tenant from now on.
func (s *Server) Limit(tenant string, l Limits) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tenant(tenant)
	t.limits, t.used, t.inside = l, 0, 0
}

// tenant returns the tenant of a name. The caller holds mu.
func (s *Server) tenant(name string) *tenant {
	t := s.tenants[name]
	if t == nil {
		t = &tenant{entries: map[string]*entry{}, locks: map[string]lock{}}
		s.tenants[name] = t
	}
	return t
}

// authenticate returns the account of the request's bearer token, which comes
// before every other check. The caller holds mu.
func (s *Server) authenticate(h http.Header) (account, bool) {
	values := h.Values("Authorization")
	if len(values) != 1 {
		return account{}, false
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	a, known := s.accounts[sha256.Sum256([]byte(token))]
	return a, known && strings.EqualFold(scheme, "Bearer")
}

// admit checks what follows authentication: the L1 status of SDK keys, and the
// tenant's limits. The caller holds mu.
func (s *Server) admit(a account, h http.Header) *answer {
	if a.class == cachekitio.SDK {
		switch strings.Join(h.Values("X-CacheKit-L1-Status"), ", ") {
		case "hit", "miss", "disabled":
		default:
			return failure(http.StatusBadRequest, "X-CacheKit-L1-Status must be hit, miss or disabled")
		}
	}
	return s.tenant(a.tenant).spend(s.now())
}

func (t *tenant) spend(now time.Time) *answer {
	if t.limits.Quota > 0 && t.used >= t.limits.Quota {
		return failure(http.StatusTooManyRequests, "quota").with("X-CacheKit-Deny-Reason", "quota")
	}
	if minute := now.Truncate(time.Minute); !minute.Equal(t.minute) {
		t.minute, t.inside = minute, 0
	}
	if t.limits.PerMinute > 0 && t.inside >= t.limits.PerMinute {
		wait := t.minute.Add(time.Minute).Sub(now)
		seconds := int64((wait + time.Second - 1) / time.Second)
		return failure(http.StatusTooManyRequests, "rate limit").with("Retry-After", strconv.FormatInt(seconds, 10))
	}
	t.used++
	t.inside++
	return nil
}

// may reports whether the account may use a key's namespace, and change it.
func (a account) may(k cacheKey, change bool) bool {
	if len(a.grants) > 0 && !slices.Contains(a.grants, k.namespace) {
		return false
	}
	switch {
	case !change, a.class == cachekitio.Legacy, k.space == "":
		return true
	case a.class == cachekitio.SDK:
		return k.space == "ns"
	}
	return k.space == "nsapi"
}
