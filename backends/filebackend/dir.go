package filebackend

import "errors"

// fileID tells whether two names or descriptors are one file.
type fileID struct{ device, inode uint64 }

// info is what a file's inode says. Times are Unix nanoseconds.
type info struct {
	id          fileID
	size        int64
	read, wrote int64
}

// used is when the file was last read (see markUsed) or written.
func (i info) used() int64 { return max(i.read, i.wrote) }

// file is an open regular file of this user.
type file struct {
	info
	fd int
}

// blockSize is what a file takes on the disk at least.
const blockSize = 4096

// blocks is the size of a file rounded up to blocks.
func blocks(size int64) int64 { return (size + blockSize - 1) / blockSize * blockSize }

var errNoLocks = errors.New("the file system cannot lock files: choose a directory on another one")
