//go:build unix && !linux

package filebackend

import "golang.org/x/sys/unix"

// stripeCount is how many locks there are between processes.
const stripeCount = 1

// tryLock takes the whole lock file, which excludes other processes and other
// handles: these systems have no locks on ranges of an open file description.
func (d *dir) tryLock(int) (bool, error) {
	err := unix.Flock(d.lock, unix.LOCK_EX|unix.LOCK_NB)
	if err == unix.EWOULDBLOCK {
		return false, nil
	}
	return err == nil, err
}

func (d *dir) unlock(int) { unix.Flock(d.lock, unix.LOCK_UN) }
