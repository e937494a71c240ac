// Package freshness reads the two headers by which the family's HTTP API tells
// how old a value is (spec/saas-api.md, "Stale-While-Revalidate" and "Remaining
// Freshness").
package freshness

import "time"

// The names of the headers, as net/http spells them.
const (
	Header    = "X-Cachekit-Freshness"
	ForHeader = "X-Cachekit-Fresh-For"
)

// Bounds of the value of ForHeader: its digits and its seconds, 30 days.
const (
	maxDigits  = 7
	maxSeconds = 2_592_000
)

// Stale reports whether the values of Header mark an entry as stale: anything
// but "fresh" does, and no header at all does not.
func Stale(values []string) bool {
	for _, v := range values {
		if v != "fresh" {
			return true
		}
	}
	return false
}

// For returns for how long a copy may be served by the values of ForHeader, and
// whether they bound it. A value that is not 1 to 7 digits of at most 30 days, or
// more than one value, bounds it to nothing. The length is checked before the
// conversion, so nothing can wrap into range.
func For(values []string) (d time.Duration, bounded bool) {
	if len(values) == 0 {
		return 0, false
	}
	v := values[0]
	if len(values) > 1 || len(v) == 0 || len(v) > maxDigits {
		return 0, true
	}
	seconds := 0
	for i := range len(v) {
		if v[i] < '0' || v[i] > '9' {
			return 0, true
		}
		seconds = 10*seconds + int(v[i]-'0')
	}
	if seconds > maxSeconds {
		return 0, true
	}
	return time.Duration(seconds) * time.Second, true
}
