package main

import (
	"fmt"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/memorybackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
	"github.com/cachekit-io/cachekit-go/secure"
)

func TestMain(m *testing.M) {
	if os.Getenv("KEYTOOL_TEST_JOB") == "limited" {
		limited()
	}
	if job := os.Getenv("KEYTOOL_TEST_JOB"); job != "" {
		fmt.Fprintln(os.Stderr, work(job))
		os.Exit(1)
	}
	testscript.Main(leakless{m}, map[string]func(){"keytool": main})
}

// limited is the tool on a storage that can read, write and list, and no more.
// None that the environment selects is so and can be reached by a test.
func limited() {
	b := memorybackend.New(nil)
	secure.SetDefaultBackend(struct {
		backends.Backend
		backends.Scanner
	}{b, b})
	main()
}

// leakless is a run of the tests that leaves no goroutine behind. A go-redis pool
// that could not dial sees up to a second late that it has been closed.
type leakless struct{ m *testing.M }

func (l leakless) Run() int {
	code := l.m.Run()
	if code != 0 {
		return code
	}
	if err := goleak.Find(goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// TestScripts runs the scripts of testdata/script: the tool as its users run it,
// in a pipe.
func TestScripts(t *testing.T) { runScripts(t, "testdata/script", nil) }

// TestRedisScripts runs those that need a storage. $REDIS is a server of their
// own.
func TestRedisScripts(t *testing.T) {
	runScripts(t, "testdata/redis", func(e *testscript.Env) error {
		server := testenv.Redis(e.T().(testing.TB), nil)
		e.Setenv("REDIS", server.URL())
		return nil
	})
}

// TestKMSScripts runs those that need a KMS. $KEK is a key of a server of their
// own, which a third party wrote.
func TestKMSScripts(t *testing.T) {
	runScripts(t, "testdata/kms", func(e *testscript.Env) error {
		for name, value := range map[string]string{
			"AWS_ENDPOINT_URL_KMS": testenv.AWS(e.T().(testing.TB)), "AWS_REGION": "eu-west-1",
			"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true",
			"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
		} {
			e.Setenv(name, value)
		}
		return nil
	})
}

func runScripts(t *testing.T, dir string, setup func(*testscript.Env) error) {
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		Setup:               setup,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"agekey": agekey,
			"exits":  exits,
			"fill":   fill,
			"grab":   grab,
			"kek":    kek,
			"mode":   mode,
			"plant":  plant,
			"shape":  shape,
		},
		Condition: func(name string) (bool, error) {
			if name != "mounts" {
				return false, fmt.Errorf("unknown condition %q", name)
			}
			return mounts(), nil
		},
	})
}
