package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// createSecret writes text to a new file that only its owner can read. The file
// appears whole or not at all, and nothing that is there is replaced or followed.
func createSecret(file, text string) error {
	if _, err := os.Lstat(file); err == nil {
		return existing(file, fs.ErrExist)
	}
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*") // of mode 0600
	if err != nil {
		return fail(codeUsage, "%w", err)
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Link(f.Name(), file) // which, unlike a rename, fails if there is one
	}
	if err = errors.Join(err, os.Remove(f.Name())); err != nil {
		return existing(file, fmt.Errorf("writing %s: %w", file, err))
	}
	return syncDir(filepath.Dir(file))
}

// syncDir makes the name of a new file last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fail(codeUsage, "%w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fail(codeUsage, "the file is written, but may not survive a power failure: %w", err)
	}
	return nil
}
