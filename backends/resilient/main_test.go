package resilient_test

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

// quiet drops what go-redis logs about connections that the tests break.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// A go-redis pool that could not dial looks for its server once a second, and
// sees up to a second late that it has been closed.
func TestMain(m *testing.M) {
	redis.SetLogger(quiet{})
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}
