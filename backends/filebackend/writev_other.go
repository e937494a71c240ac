//go:build unix && !linux

package filebackend

import "golang.org/x/sys/unix"

// writev writes the first part that is not empty.
func writev(fd int, parts [][]byte) (int, error) {
	for _, p := range parts {
		if len(p) > 0 {
			return unix.Write(fd, p)
		}
	}
	return 0, nil
}
