package rekey_test

import (
	"testing"

	"go.uber.org/goleak"
)

// A go-redis pool that could not dial looks for its server once a second, and
// sees up to a second late that it has been closed.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}
