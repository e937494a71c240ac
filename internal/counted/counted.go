// Package counted holds the results of a batch to their number.
package counted

import (
	"errors"

	"github.com/cachekit-io/cachekit-go/backends"
)

var errCount = errors.New("the backend gave another number of results than it was asked for: mend it with package backendtest")

// Results returns results if there are n, as package backends promises. Of another
// number nobody can tell whose result is which: it returns n that have failed then,
// so that no write passes for stored and no lock for held. err is where a result has
// its error.
func Results[R any](op string, results []R, n int, err func(*R) *error) []R {
	if len(results) == n {
		return results
	}
	results = make([]R, n)
	for i := range results {
		*err(&results[i]) = &backends.Error{Op: op, Backend: "custom", Kind: backends.Permanent, Err: errCount}
	}
	return results
}
