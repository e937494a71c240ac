package faults_test

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/resilient"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/secure"
)

// roleEnv makes the test binary a child of a test, with that part to play.
const roleEnv = "CACHEKIT_FAULTS_ROLE"

var roles = map[string]func() error{}

type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// A go-redis pool that could not dial looks for its server once a second, and
// sees up to a second late that it has been closed.
func TestMain(m *testing.M) {
	redis.SetLogger(quiet{})
	if role := os.Getenv(roleEnv); role != "" {
		if err := roles[role](); err != nil {
			slog.Error(role, "error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

// startRole starts this binary as a child, which dies with the test.
func startRole(t *testing.T, role string, env ...string) *testenv.Process {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(append(os.Environ(), roleEnv+"="+role), env...)
	return testenv.Start(t, cmd)
}

const masterKey = "1111111111111111111111111111111111111111111111111111111111111111"

// profiles are the constructors that the matrix and the soak go through.
var profiles = map[string]func(context.Context, *secure.Options) (*secure.Cache, error){
	"secure": secure.New, "minimal": secure.NewMinimal,
}

// newCache builds a cache of a profile over b. change, if given, may alter the
// options.
func newCache(ctx context.Context, profile string, b backends.Backend, change func(*secure.Options)) (*secure.Cache, error) {
	key, err := keys.Hex(masterKey)
	if err != nil {
		return nil, err
	}
	o := &secure.Options{Backend: b, Namespace: "faults", MasterKey: key, Logger: slog.New(slog.DiscardHandler)}
	if profile == "secure" {
		o.ReliabilityOptions = &resilient.Options{OpenFor: time.Second}
	}
	if change != nil {
		change(o)
	}
	return profiles[profile](ctx, o)
}
