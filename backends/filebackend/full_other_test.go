//go:build unix && !linux

package filebackend_test

import "errors"

func fillDisk(string) error     { return errors.ErrUnsupported }
func growTooLarge(string) error { return errors.ErrUnsupported }
func changeDisks(string) error  { return errors.ErrUnsupported }
