//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package filebackend

import "golang.org/x/sys/unix"

// stripeCount is 1: these systems lock whole open files only.
const stripeCount = 1

// tryLock takes the lock file for this open directory, without waiting.
func (d *dir) tryLock(int) (bool, error) {
	err := unix.Flock(d.lock, unix.LOCK_EX|unix.LOCK_NB)
	if err == unix.EWOULDBLOCK || err == unix.EINTR {
		return false, nil
	}
	return err == nil, err
}

func (d *dir) unlock(int) { _ = unix.Flock(d.lock, unix.LOCK_UN) }

// inMemory: not asked for here.
func inMemory(int) bool { return false }

// noAccessTime: these systems have no such flag.
const noAccessTime = 0

func (d *dir) setAccessTime(name string, now int64, i info) {
	times := []unix.Timespec{unix.NsecToTimespec(now), unix.NsecToTimespec(i.wrote)}
	_ = unix.UtimesNanoAt(d.fd, name, times, unix.AT_SYMLINK_NOFOLLOW)
}

// replaceFD makes to what from is.
func replaceFD(from, to int) error {
	err := unix.Dup2(from, to)
	if err == nil {
		unix.CloseOnExec(to)
	}
	return err
}

// writev writes the first part that is not empty.
func writev(fd int, head, value []byte) (int, error) {
	if len(head) > 0 {
		return unix.Write(fd, head)
	}
	return unix.Write(fd, value)
}
