//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package keyfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many links a path may lead through.
const maxLinks = 32

// readMounted reads a file that symbolic links lead to, as in a mounted secret.
// A mount is replaced by swapping a link, so what is gone is looked for again.
func readMounted(path string, limit int) (b []byte, err error) {
	for range 3 {
		if b, err = readThrough(path, limit); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return b, err
}

func readThrough(path string, limit int) ([]byte, error) {
	real, err := follow(path)
	if err != nil {
		return nil, err
	}
	f, err := openFile(real)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readChecked(f, limit, true)
}

// follow resolves path one element at a time and checks every directory and
// every link on the way: nobody but root and this user may be able to lead the
// path elsewhere. So nothing changes behind a check.
func follow(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	const root = string(filepath.Separator)
	at, rest, links := root, strings.Split(path, root), 0
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at = filepath.Dir(at)
			continue
		}
		if err := checkDir(at); err != nil {
			return "", err
		}
		at = filepath.Join(at, name)
		target, err := readLink(at)
		switch {
		case err != nil:
			return "", err
		case target == "":
			continue
		}
		if links++; links > maxLinks {
			return "", unsafe(path, "it leads through too many links")
		}
		if at = filepath.Dir(at); filepath.IsAbs(target) {
			at = root
		}
		rest = append(strings.Split(target, root), rest...)
	}
	return at, nil
}

// readLink returns what the link at path says, after checking whose it is, or ""
// if there is no link.
func readLink(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return "", &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	switch {
	case uint32(st.Mode)&unix.S_IFMT != unix.S_IFLNK:
		return "", nil
	case !ours(st.Uid):
		return "", unsafe(path, fmt.Sprintf("the link belongs to user %d", st.Uid))
	}
	return os.Readlink(path)
}

func checkDir(path string) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	switch mode := uint32(st.Mode); {
	case mode&unix.S_IFMT != unix.S_IFDIR:
		return &fs.PathError{Op: "open", Path: path, Err: unix.ENOTDIR}
	case !ours(st.Uid):
		return unsafe(path, fmt.Sprintf("the directory belongs to user %d", st.Uid))
	case mode&0o022 != 0 && mode&unix.S_ISVTX == 0:
		return unsafe(path, fmt.Sprintf("the mode of the directory is %04o, which lets others replace what is in it", mode&0o7777))
	}
	return nil
}

func ours(uid uint32) bool { return uid == 0 || uid == uint32(os.Geteuid()) }
