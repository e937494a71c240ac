//go:build unix

package filebackend

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// dir is an open directory. Everything is relative to its descriptor, so that a
// directory that is renamed or replaced meanwhile changes nothing.
type dir struct {
	fd   int
	uid  uint32
	lock int // descriptor of the lock file
}

// lockName is the file whose bytes are the locks between processes. Names with
// a leading dot are not entries to any SDK of the family.
const lockName = ".cachekit-go.lock"

func openDir(path string) (*dir, error) {
	if err := os.MkdirAll(filepath.Clean(path), 0o700); err != nil {
		return nil, err
	}
	fd, err := unix.Open(path, unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	d := &dir{fd: fd, uid: uint32(os.Getuid()), lock: -1}
	if err := d.init(); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *dir) init() error {
	var st unix.Stat_t
	if err := unix.Fstat(d.fd, &st); err != nil {
		return err
	}
	switch {
	case st.Uid != d.uid:
		return fmt.Errorf("%w: it belongs to user %d, this process runs as %d: choose a directory of your own", ErrUnsafe, st.Uid, d.uid)
	case st.Mode&0o077 != 0:
		return fmt.Errorf("%w: its mode is %04o, which lets others in: chmod 700 it", ErrUnsafe, st.Mode&0o7777)
	}
	var err error
	d.lock, err = ignoringInterrupts(func() (int, error) {
		return unix.Openat(d.fd, lockName, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	})
	return err
}

func (d *dir) close() {
	unix.Close(d.fd)
	if d.lock >= 0 {
		unix.Close(d.lock)
	}
}

// file is an open file with what identifies it.
type file struct {
	fd   int
	st   unix.Stat_t
	size int64
}

func (f *file) close() { unix.Close(f.fd) }

// errForeign is an entry name that is no regular file of ours: a link, a FIFO,
// another user's file.
var errForeign = errors.New("not a regular file of this user")

// open opens a regular file of this user. A FIFO would block without
// O_NONBLOCK; on regular files the flag does nothing.
func (d *dir) open(name string, write bool) (*file, error) {
	flags := unix.O_RDONLY
	if write {
		flags = unix.O_RDWR
	}
	fd, err := ignoringInterrupts(func() (int, error) {
		return unix.Openat(d.fd, name, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	})
	switch err {
	case nil:
	case unix.ELOOP, unix.EMLINK, unix.ENXIO, unix.EISDIR:
		return nil, errForeign
	default:
		return nil, err
	}
	f := &file{fd: fd}
	if err := unix.Fstat(fd, &f.st); err != nil {
		f.close()
		return nil, err
	}
	if f.st.Mode&unix.S_IFMT != unix.S_IFREG || f.st.Uid != d.uid {
		f.close()
		return nil, errForeign
	}
	f.size = f.st.Size
	return f, nil
}

// readAt fills b from the offset and returns how much there was.
func (f *file) readAt(b []byte, offset int64) (n int, err error) {
	for n < len(b) {
		m, err := ignoringInterrupts(func() (int, error) { return unix.Pread(f.fd, b[n:], offset+int64(n)) })
		if m == 0 || err != nil {
			return n, err
		}
		n += m
	}
	return n, nil
}

func (f *file) writeAt(b []byte, offset int64) error {
	_, err := ignoringInterrupts(func() (int, error) { return unix.Pwrite(f.fd, b, offset) })
	return err
}

// create writes a new file of mode 0600 that nobody else sees under its name
// until it is renamed. On an error nothing is left behind.
func (d *dir) create(name string, header, value []byte, sync bool) (err error) {
	fd, err := ignoringInterrupts(func() (int, error) {
		return unix.Openat(d.fd, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	})
	if err != nil {
		return err
	}
	err = writeAll(fd, header, value)
	if err == nil && sync {
		err = unix.Fsync(fd)
	}
	if closeErr := unix.Close(fd); err == nil {
		err = closeErr
	}
	if err != nil {
		d.remove(name)
	}
	return err
}

// iovecs keeps the slice of slices of writeAll off the heap.
var iovecs = sync.Pool{New: func() any { return new([2][]byte) }}

func writeAll(fd int, header, value []byte) error {
	parts := iovecs.Get().(*[2][]byte)
	defer func() { *parts = [2][]byte{}; iovecs.Put(parts) }()
	for len(header)+len(value) > 0 {
		parts[0], parts[1] = header, value
		n, err := ignoringInterrupts(func() (int, error) { return writev(fd, parts[:]) })
		if err != nil {
			return err
		}
		if n == 0 {
			return unix.EIO
		}
		h := min(n, len(header))
		header, value = header[h:], value[n-h:]
	}
	return nil
}

func (d *dir) rename(from, to string) error { return unix.Renameat(d.fd, from, d.fd, to) }
func (d *dir) remove(name string) error     { return unix.Unlinkat(d.fd, name, 0) }
func (d *dir) sync() error                  { return unix.Fsync(d.fd) }

// names is f's identity: does name still refer to it?
func (d *dir) names(name string, f *file) bool {
	var st unix.Stat_t
	err := unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && st.Ino == f.st.Ino && st.Dev == f.st.Dev
}

// info is what a scan sees of a file.
type info struct {
	name  string
	size  int64
	mtime time.Time
}

// scan lists the regular files of this user.
func (d *dir) scan() ([]info, error) {
	fd, err := unix.Openat(d.fd, ".", unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "")
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	out := make([]info, 0, len(names))
	for _, name := range names {
		var st unix.Stat_t
		if unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
			continue // gone meanwhile
		}
		if st.Mode&unix.S_IFMT == unix.S_IFREG && st.Uid == d.uid {
			out = append(out, info{name, st.Size, time.Unix(st.Mtim.Unix())})
		}
	}
	return out, nil
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// ignoringInterrupts repeats a system call that a signal interrupted.
func ignoringInterrupts(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}
