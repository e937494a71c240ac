//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package filebackend

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
)

const stripeCount = 1

// dir is never opened: what keeps a directory safe (owner, mode, files opened
// relative to it without following links) is missing or different here.
type dir struct {
	path   string
	memory atomic.Bool
}

func openDir(string, func() error) (*dir, error) {
	return nil, fmt.Errorf("the file backend does not run on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

func (d *dir) reopen() error                             { return errors.ErrUnsupported }
func (d *dir) close()                                    {}
func (d *dir) open(string, bool) (file, error)           { return file{}, errors.ErrUnsupported }
func (d *dir) stat(string) (info, error)                 { return info{}, errors.ErrUnsupported }
func (d *dir) create(string, []byte, []byte, bool) error { return errors.ErrUnsupported }
func (d *dir) rename(string, string) error               { return errors.ErrUnsupported }
func (d *dir) remove(string) error                       { return errors.ErrUnsupported }
func (d *dir) sync() error                               { return errors.ErrUnsupported }
func (d *dir) walk(func(string, info) bool) error        { return errors.ErrUnsupported }
func (d *dir) tryLock(int) (bool, error)                 { return false, errors.ErrUnsupported }
func (d *dir) unlock(int)                                {}
func (d *dir) setAccessTime(string, int64, info)         {}
func (f *file) readAt([]byte) (int, error)               { return 0, errors.ErrUnsupported }
func (f *file) writeAt([]byte, int64, bool) error        { return errors.ErrUnsupported }
func (f *file) close()                                   {}
