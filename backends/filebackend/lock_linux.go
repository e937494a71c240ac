package filebackend

import "golang.org/x/sys/unix"

// stripeCount is how many locks there are between processes.
const stripeCount = 64

// tryLock takes one byte of the lock file for this open directory, without
// waiting. Open file description locks also exclude other handles of the same
// process (fcntl_locking(2)).
func (d *dir) tryLock(i int) (bool, error) {
	err := unix.FcntlFlock(uintptr(d.lock), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: int64(i), Len: 1})
	if err == unix.EAGAIN || err == unix.EACCES {
		return false, nil
	}
	return err == nil, err
}

func (d *dir) unlock(i int) {
	unix.FcntlFlock(uintptr(d.lock), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK, Start: int64(i), Len: 1})
}
