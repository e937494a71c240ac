//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package filebackend

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// dir is an open directory. Everything is relative to its descriptor, so a path
// that is renamed or replaced by a link meanwhile changes nothing.
type dir struct {
	path string
	uid  uint32
	gate func() error // nil but in tests: may block or fail

	fd, lock int // the directory, its lock file
	mu       sync.Mutex
	memory   atomic.Bool // no device is behind the file system
}

func openDir(path string, gate func() error) (*dir, error) {
	if path == "" {
		return nil, errors.New("the path is empty")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	d := &dir{path: path, uid: uint32(os.Geteuid()), gate: gate}
	d.fd, d.lock, err = d.attach()
	if err != nil {
		return nil, err
	}
	d.memory.Store(gate == nil && inMemory(d.fd))
	if err := d.tryLocking(); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// attach creates or opens the directory and its lock file, after checking the
// directory that the descriptor has, not the path.
func (d *dir) attach() (fd, lock int, err error) {
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return -1, -1, err
	}
	fd, err = again(func() (int, error) { return unix.Open(d.path, unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return -1, -1, err
	}
	if err = d.check(fd); err == nil {
		lock, err = again(func() (int, error) {
			return unix.Openat(fd, lockName, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
		})
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, -1, err
	}
	return fd, lock, nil
}

func (d *dir) check(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	switch {
	case st.Uid != d.uid:
		return fmt.Errorf("%w: it belongs to user %d, this process runs as %d: choose a directory of your own", ErrUnsafe, st.Uid, d.uid)
	case st.Mode&0o077 != 0:
		return fmt.Errorf("%w: its mode is %04o, which lets others in: chmod 700 it", ErrUnsafe, st.Mode&0o7777)
	}
	return nil
}

func (d *dir) tryLocking() error {
	ok, err := d.tryLock(0)
	if ok {
		d.unlock(0)
	}
	if err != nil {
		return fmt.Errorf("%w (%w)", errNoLocks, err)
	}
	return nil
}

// reopen is for a directory that was removed under an open descriptor: it opens
// the path anew, unless that has happened already, under the same numbers.
func (d *dir) reopen() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var st unix.Stat_t
	if err := unix.Fstat(d.fd, &st); err == nil && st.Nlink > 0 {
		return nil
	}
	fd, lock, err := d.attach()
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return err
	}
	d.memory.Store(d.gate == nil && inMemory(fd))
	err = errors.Join(replaceFD(fd, d.fd), replaceFD(lock, d.lock))
	_, _ = unix.Close(fd), unix.Close(lock)
	return err
}

func (d *dir) close() {
	_, _ = unix.Close(d.fd), unix.Close(d.lock)
}

func (d *dir) pass() error {
	if d.gate == nil {
		return nil
	}
	return d.gate()
}

// open opens a regular file of this user. A FIFO would block without
// O_NONBLOCK; on regular files the flag does nothing.
func (d *dir) open(name string, write bool) (file, error) {
	if err := d.pass(); err != nil {
		return file{}, err
	}
	flags := unix.O_RDONLY
	if write {
		flags = unix.O_RDWR
	}
	fd, err := again(func() (int, error) {
		return unix.Openat(d.fd, name, flags|noAccessTime|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return file{}, d.refused(name, err)
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && !d.ours(&st) {
		err = errForeign
	}
	if err != nil {
		_ = unix.Close(fd)
		return file{}, err
	}
	return file{infoOf(&st), fd}, nil
}

// refused is errForeign if the file could not be opened for what it is (a link,
// a socket, another user's), or else the error.
func (d *dir) refused(name string, err error) error {
	if err == unix.ENOENT {
		return err
	}
	var st unix.Stat_t
	if unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && !d.ours(&st) {
		return errForeign
	}
	return err
}

func (d *dir) ours(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFREG && st.Uid == d.uid
}

func infoOf(st *unix.Stat_t) info {
	return info{
		id:   fileID{uint64(st.Dev), st.Ino},
		size: st.Size, read: st.Atim.Nano(), wrote: st.Mtim.Nano(),
	}
}

// stat is for a regular file of this user.
func (d *dir) stat(name string) (info, error) {
	if err := d.pass(); err != nil {
		return info{}, err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return info{}, err
	}
	if !d.ours(&st) {
		return info{}, errForeign
	}
	return infoOf(&st), nil
}

// create writes a new file of mode 0600 that nobody sees under its final name
// yet. On an error nothing is left behind.
func (d *dir) create(name string, head, value []byte, sync bool) error {
	if err := d.pass(); err != nil {
		return err
	}
	fd, err := again(func() (int, error) {
		return unix.Openat(d.fd, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	})
	if err != nil {
		return err
	}
	err = writeAll(fd, head, value)
	if err == nil && sync {
		err = unix.Fsync(fd)
	}
	// After EINTR the descriptor is closed all the same.
	if closeErr := unix.Close(fd); err == nil && closeErr != unix.EINTR {
		err = closeErr
	}
	if err != nil {
		_ = d.remove(name)
	}
	return err
}

func writeAll(fd int, head, value []byte) error {
	for len(head)+len(value) > 0 {
		n, err := again(func() (int, error) { return writev(fd, head, value) })
		if err != nil {
			return err
		}
		if n == 0 {
			return unix.EIO
		}
		h := min(n, len(head))
		head, value = head[h:], value[n-h:]
	}
	return nil
}

func (d *dir) rename(from, to string) error {
	if err := d.pass(); err != nil {
		return err
	}
	return unix.Renameat(d.fd, from, d.fd, to)
}

func (d *dir) remove(name string) error {
	if err := d.pass(); err != nil {
		return err
	}
	return unix.Unlinkat(d.fd, name, 0)
}

// sync makes what was renamed or removed survive a power cut.
func (d *dir) sync() error {
	if err := d.pass(); err != nil {
		return err
	}
	return unix.Fsync(d.fd)
}

// walkBatch is how many names walk reads at a time.
const walkBatch = 256

// walk calls f for the regular files of this user, in no order, until it returns
// false.
func (d *dir) walk(f func(name string, i info) bool) error {
	if err := d.pass(); err != nil {
		return err
	}
	fd, err := again(func() (int, error) {
		return unix.Openat(d.fd, ".", unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return err
	}
	list := os.NewFile(uintptr(fd), "")
	defer list.Close()
	for {
		names, err := list.Readdirnames(walkBatch)
		for _, name := range names {
			i, err := d.stat(name)
			if err == nil && !f(name, i) {
				return nil
			}
		}
		if len(names) == 0 || err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
	}
}

// readAt fills b from the start of the file and returns how much there was.
func (f *file) readAt(b []byte) (n int, err error) {
	for n < len(b) {
		m, err := again(func() (int, error) { return unix.Pread(f.fd, b[n:], int64(n)) })
		if m <= 0 || err != nil {
			return n, err
		}
		n += m
	}
	return n, nil
}

func (f *file) writeAt(b []byte, offset int64, sync bool) error {
	n, err := again(func() (int, error) { return unix.Pwrite(f.fd, b, offset) })
	if err == nil && n < len(b) {
		err = unix.EIO
	}
	if err == nil && sync {
		err = unix.Fsync(f.fd)
	}
	return err
}

func (f *file) close() { _ = unix.Close(f.fd) }

// again repeats a system call that a signal interrupted.
func again(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}
