package main

import (
	"fmt"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"keytool": main})
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
