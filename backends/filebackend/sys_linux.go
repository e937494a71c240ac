package filebackend

import (
	"sync"

	"golang.org/x/sys/unix"
)

// stripeCount is how many locks there are between processes.
const stripeCount = 64

// tryLock takes one byte of the lock file for this open directory, without
// waiting. Locks of open file descriptions also exclude other backends of the
// same process (fcntl_locking(2)).
func (d *dir) tryLock(i int) (bool, error) {
	err := unix.FcntlFlock(uintptr(d.lock), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: int64(i), Len: 1})
	if err == unix.EAGAIN || err == unix.EACCES || err == unix.EINTR {
		return false, nil
	}
	return err == nil, err
}

func (d *dir) unlock(i int) {
	_ = unix.FcntlFlock(uintptr(d.lock), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK, Start: int64(i), Len: 1})
}

// inMemory reports whether a file system of pages alone, tmpfs or ramfs, has the
// directory: its system calls wait for no device (statfs(2) has the numbers).
func inMemory(fd int) bool {
	var st unix.Statfs_t
	if unix.Fstatfs(fd, &st) != nil {
		return false
	}
	return uint32(st.Type) == unix.TMPFS_MAGIC || uint32(st.Type) == unix.RAMFS_MAGIC
}

// noAccessTime keeps the kernel from recording reads, which it does or does not
// depending on how the file system is mounted: setAccessTime does it instead.
const noAccessTime = unix.O_NOATIME

func (d *dir) setAccessTime(name string, now int64, _ info) {
	times := []unix.Timespec{unix.NsecToTimespec(now), {Nsec: unix.UTIME_OMIT}}
	_ = unix.UtimesNanoAt(d.fd, name, times, unix.AT_SYMLINK_NOFOLLOW)
}

// replaceFD makes to what from is.
func replaceFD(from, to int) error { return unix.Dup3(from, to, unix.O_CLOEXEC) }

// vectors keeps the slice of slices of writev off the heap.
var vectors = sync.Pool{New: func() any { return new([2][]byte) }}

func writev(fd int, head, value []byte) (int, error) {
	parts := vectors.Get().(*[2][]byte)
	defer func() {
		*parts = [2][]byte{}
		vectors.Put(parts)
	}()
	*parts = [2][]byte{head, value}
	return unix.Writev(fd, parts[:])
}
