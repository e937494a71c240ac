//go:build unix

package filebackend_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// children are what this test binary does as a child process, by name. The
// argument is a directory.
var children = map[string]func(dir string) error{
	"write for ever":   writeForEver,
	"increment":        increment,
	"read for a while": readForAWhile,
	"fill the disk":    fillDisk,
	"grow too large":   growTooLarge,
	"change disks":     changeDisks,
}

const childEnv = "FILEBACKEND_TEST_CHILD"

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		if err := children[name](os.Getenv(childEnv + "_DIR")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
