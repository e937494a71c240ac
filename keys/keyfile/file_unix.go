//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package keyfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

const (
	// lockWait is how long a writer waits for another one, and lockPoll how
	// often it asks.
	lockWait = 5 * time.Second
	lockPoll = 20 * time.Millisecond
)

// readFile reads a secret file of at most limit bytes, after checking what the
// descriptor is, not what the path says.
func readFile(path string, limit int, mounted bool) ([]byte, error) {
	if mounted {
		return readMounted(path, limit)
	}
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readChecked(f, limit, false)
}

// openFile opens without following a link and without waiting for a writer of a
// FIFO.
func openFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	switch {
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.EMLINK):
		return nil, unsafe(path, "it is a symbolic link, which is not followed: name the file itself, or see Options.Mounted")
	case errors.Is(err, unix.ENXIO):
		return nil, unsafe(path, "it is no regular file")
	}
	return f, err
}

func readChecked(f *os.File, limit int, mounted bool) ([]byte, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	if err := checkStat(f.Name(), &st, limit, mounted); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err == nil && len(b) > limit {
		err = unsafe(f.Name(), fmt.Sprintf("it has more than %d bytes", limit))
	}
	if err != nil {
		clear(b)
		return nil, err
	}
	return b, nil
}

func checkStat(path string, st *unix.Stat_t, limit int, mounted bool) error {
	uid, mode := uint32(os.Geteuid()), uint32(st.Mode)
	forbidden := uint32(0o077)
	if mounted {
		forbidden = 0o037
	}
	switch {
	case mode&unix.S_IFMT != unix.S_IFREG:
		return unsafe(path, "it is no regular file")
	case st.Uid != uid && !(mounted && st.Uid == 0):
		return unsafe(path, fmt.Sprintf("it belongs to user %d, this process runs as %d: chown it, or see Options.Mounted", st.Uid, uid))
	case mode&forbidden != 0:
		return unsafe(path, fmt.Sprintf("its mode is %04o, which lets others in: chmod 600 it, and change the keys if others had access", mode&0o7777))
	case st.Size > int64(limit):
		return unsafe(path, fmt.Sprintf("it has more than %d bytes", limit))
	}
	return nil
}

func unsafe(path, why string) error { return fmt.Errorf("%w: %s: %s", ErrUnsafe, path, why) }

// lockFile excludes other writers of path until release is called. The lock file
// beside it stays.
func lockFile(ctx context.Context, path string) (release func(), err error) {
	name := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keyfile: the directory of the keyring file must be writable: %w", err)
	}
	var st unix.Stat_t
	if err = unix.Fstat(int(f.Fd()), &st); err == nil {
		err = checkStat(name, &st, maxFileBytes, false)
	}
	for deadline := time.Now().Add(lockWait); err == nil; {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			break
		}
		if err = ErrLocked; time.Now().Before(deadline) {
			err = sleep(ctx, lockPoll)
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// writeFile makes data the content of path, with the lock held: the old file or
// the new one is there at any moment, whole. With create, there must be none.
func writeFile(path string, data []byte, create bool) (err error) {
	dir := filepath.Dir(path)
	if err := removeLeftovers(dir, filepath.Base(path)); err != nil {
		return err
	}
	t, err := renameio.NewPendingFile(path, renameio.WithTempDir(dir), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return fmt.Errorf("keyfile: writing the keyring file: %w", err)
	}
	defer func() { err = errors.Join(err, t.Cleanup()) }()
	if _, err := t.Write(data); err != nil {
		return fmt.Errorf("keyfile: writing the keyring file (the old one is untouched): %w", err)
	}
	if create {
		err = link(t.File, path)
	} else {
		err = t.CloseAtomicallyReplace()
	}
	if err != nil {
		return fmt.Errorf("keyfile: writing the keyring file: %w", err)
	}
	return syncDir(dir)
}

// link gives the temporary file its name, which fails if there is one (as
// O_EXCL does), but shows no file that is half written.
func link(f *os.File, path string) error {
	if err := f.Sync(); err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("keyfile: the keyring file is written, but may not survive a power failure: %w", err)
	}
	return nil
}

// removeLeftovers deletes the temporary files of writers that were killed: they
// hold keys.
func removeLeftovers(dir, base string) error {
	names, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("keyfile: reading the directory of the keyring file: %w", err)
	}
	temporary := regexp.MustCompile(`^\.` + regexp.QuoteMeta(base) + `[0-9]{12,19}$`)
	for _, n := range names {
		if temporary.MatchString(n.Name()) && n.Type().IsRegular() {
			if err := os.Remove(filepath.Join(dir, n.Name())); err != nil {
				return fmt.Errorf("keyfile: removing what a killed writer left: %w", err)
			}
		}
	}
	return nil
}
