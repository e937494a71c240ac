//go:build !unix

package peers

import (
	"testing"

	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

func lock(t testing.TB, _ string) (unlock func()) {
	t.Helper()
	testenv.Missing(t, "the peers run on Unix systems only")
	return nil
}
