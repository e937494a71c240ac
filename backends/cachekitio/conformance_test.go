package cachekitio_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/backendtest"
	"github.com/cachekit-io/cachekit-go/backends/cachekitio"
	"github.com/cachekit-io/cachekit-go/backends/cachekitio/iotest"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

func TestConformance(t *testing.T) { conforms(t, func(*iotest.Server) {}) }

// Rule: a server that is slow and wants its connections to be left all the time
// shows in nothing but time.
func TestConformanceOnARestlessServer(t *testing.T) {
	conforms(t, func(s *iotest.Server) {
		var n atomic.Int64
		every := func(k int64) func(iotest.Request) bool {
			return func(iotest.Request) bool { return n.Add(1)%k == 0 }
		}
		s.Inject(iotest.Fault{Kind: iotest.GoAwayAfter, Match: every(101)})
		s.Inject(iotest.Fault{Kind: iotest.Delay, Delay: 2 * time.Millisecond, Match: every(11)})
	})
}

// maxValue is less than the service's limit, which takes seconds under the race
// detector.
const maxValue = 9 << 20

func conforms(t *testing.T, disturb func(*iotest.Server)) {
	backendtest.Run(t, backendtest.Harness{
		Want:        []string{"EntryReader", "TTLer", "Locker", "KeyRuler"},
		Granularity: time.Second,
		MaxTTL:      30 * 24 * time.Hour,
		MaxValue:    maxValue,
		Without: map[string]string{
			"EntryTTL":      "the API tells the freshness bound with a value, not the TTL",
			"DeleteReport":  "DELETE answers 200 whether there was an entry or not",
			"UnlockReport":  "DELETE .../lock answers 200 whether the lock was held or not",
			"TouchNoExpiry": "PATCH .../ttl takes 1 to 2,592,000 seconds",
			"LongTTL":       "the service refuses a TTL over 30 days",
			"Raw":           "no storage lies below the service's own API",
		},
		Open: func(tb testing.TB) backendtest.Subject {
			s := serve(tb, &iotest.Options{MaxValueBytes: maxValue})
			p := testenv.Proxy(tb, s.Addr())
			disturb(s)
			b := open(tb, options(s, func(o *cachekitio.Options) { o.DialContext = through(p) }))
			return backendtest.Subject{
				Backend: b,
				Other:   func(tb testing.TB) backends.Backend { return open(tb, s.Options()) },
				Stall:   p.Stall, Resume: p.Resume, Kill: p.Kill,
				Advance: s.Advance,
				Secrets: []string{s.APIKey()},
			}
		},
	})
}
