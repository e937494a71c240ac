package filebackend

import "golang.org/x/sys/unix"

func writev(fd int, parts [][]byte) (int, error) { return unix.Writev(fd, parts) }
