package cachekitio

import (
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

// Metrics headers (spec/saas-api.md, "Optional Metrics Headers", and "Required
// Headers" for the status, which ck_sdk_ keys must send with every request). They
// are written as HTTP/2 sends them, which spares x/net a copy of each, twice.
const (
	statusHeader       = "x-cachekit-l1-status"
	sessionHeader      = "x-cachekit-session-id"
	sessionStartHeader = "x-cachekit-session-start"
	l1HitsHeader       = "x-cachekit-l1-hits"
	l2HitsHeader       = "x-cachekit-l2-hits"
	missesHeader       = "x-cachekit-misses"
	hitRateHeader      = "x-cachekit-l1-hit-rate"
)

// session identifies the process: a UUID of version 4 and the milliseconds since
// the epoch when it was first asked for.
var session = sync.OnceValues(func() (id, start []string) {
	var u [16]byte
	_, _ = rand.Read(u[:])
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return []string{fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])},
		[]string{strconv.FormatInt(time.Now().UnixMilli(), 10)}
})

const modulePath = "github.com/cachekit-io/cachekit-go"

// userAgent names this SDK first, which is what the service reads.
var userAgent = sync.OnceValue(func() []string {
	version := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range append(info.Deps, &info.Main) {
			if m.Path == modulePath && m.Version != "" && m.Version[0] == 'v' {
				version = m.Version[1:]
			}
		}
	}
	return []string{"cachekit-go/" + version}
})

// static returns the headers of a request of a process without counters, not to
// be changed. It is a function, so that printing a Backend shows no API key.
type static func() http.Header

func newStatic(key APIKey) static {
	id, start := session()
	h := http.Header{
		"Authorization": {key.bearer()}, "User-Agent": userAgent(),
		sessionHeader: id, sessionStartHeader: start, statusHeader: {"disabled"},
	}
	return func() http.Header { return h }
}

// A request reaches the service because the in-process layer had no entry, or
// there is none; what the family reports is "miss" and "disabled".
var statusMiss = []string{"miss"}

// headers are those of r, not to be changed.
func (b *Backend) headers(r *request) http.Header {
	sum, metered := b.meters.sum()
	if !metered && r.content == nil && r.headers == [2]header{} {
		return b.static()
	}
	size := 8 // what a map holds in one piece, and enough without counters
	if metered {
		size = 12
	}
	h := make(http.Header, size)
	maps.Copy(h, b.static())
	if r.content != nil {
		h["Content-Type"] = r.content
	}
	for _, x := range r.headers {
		if x.name != "" {
			h[x.name] = []string{x.value}
		}
	}
	if metered {
		tell(h, sum)
	}
	return h
}

// tell sets the headers of the counters.
func tell(h http.Header, c backends.Counters) {
	if c.L1 {
		h[statusHeader] = statusMiss
	}
	h[l1HitsHeader] = []string{strconv.FormatUint(c.L1Hits, 10)}
	h[l2HitsHeader] = []string{strconv.FormatUint(c.BackendHits, 10)}
	h[missesHeader] = []string{strconv.FormatUint(c.Misses, 10)}
	h[hitRateHeader] = []string{strconv.FormatFloat(hitRate(c), 'f', 3, 64)}
}

// hitRate is the part of all reads that the in-process layer served.
func hitRate(c backends.Counters) float64 {
	reads := float64(c.L1Hits) + float64(c.BackendHits) + float64(c.Misses)
	if reads == 0 {
		return 0
	}
	return float64(c.L1Hits) / reads
}

// meters are the caches in front of a backend.
type meters struct {
	mu      sync.RWMutex
	sources map[*func() backends.Counters]struct{}
}

// Meter implements [backends.Metered]: the sum of the counters goes to the
// service with every request. Without a source, the service is told that there
// is no in-process layer.
func (b *Backend) Meter(source func() backends.Counters) (stop func()) {
	m := &b.meters
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sources == nil {
		m.sources = map[*func() backends.Counters]struct{}{}
	}
	m.sources[&source] = struct{}{}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.sources, &source)
	}
}

func (m *meters) sum() (sum backends.Counters, any bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for source := range m.sources {
		c := (*source)()
		sum.L1 = sum.L1 || c.L1
		sum.L1Hits += c.L1Hits
		sum.BackendHits += c.BackendHits
		sum.Misses += c.Misses
	}
	return sum, len(m.sources) > 0
}
