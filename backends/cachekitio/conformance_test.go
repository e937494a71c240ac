package cachekitio_test

import (
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/backendtest"
	"github.com/cachekit-io/cachekit-go/backends/cachekitio"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

func TestConformance(t *testing.T) {
	backendtest.Run(t, backendtest.Harness{
		Want:        []string{"EntryReader", "TTLer", "Locker", "KeyRuler"},
		Granularity: time.Second,
		MaxTTL:      30 * 24 * time.Hour,
		MaxValue:    25 << 20,
		Without: map[string]string{
			"EntryTTL":      "the API tells the freshness bound with a value, not the TTL",
			"DeleteReport":  "DELETE answers 200 whether there was an entry or not",
			"UnlockReport":  "DELETE .../lock answers 200 whether the lock was held or not",
			"TouchNoExpiry": "PATCH .../ttl takes 1 to 2,592,000 seconds",
			"LongTTL":       "the service refuses a TTL over 30 days",
			"Raw":           "no storage lies below the service's own API",
		},
		Open: func(tb testing.TB) backendtest.Subject {
			s := serve(tb, nil)
			p := testenv.Proxy(tb, s.Addr())
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
