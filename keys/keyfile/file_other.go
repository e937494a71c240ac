//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package keyfile

import (
	"context"
	"errors"
	"fmt"
	"runtime"
)

// What makes a file safe (owner, mode, opening without following links) is
// missing or different here.
func unsupported() error {
	return fmt.Errorf("keyfile: keyring files are not supported on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

func readFile(string, int, bool) ([]byte, error)            { return nil, unsupported() }
func lockFile(context.Context, string) (func(), error)      { return nil, unsupported() }
func writeFile(path string, data []byte, create bool) error { return unsupported() }
