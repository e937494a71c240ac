//go:build linux

package filebackend_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/filebackend"
)

// Rule: a disk that is full fails the write with a typed error, keeps the old
// value and leaves no temporary file. The child mounts a tiny file system where
// only it sees it.
func TestFullDisk(t *testing.T) {
	if !mounts(t, "fill the disk") {
		t.Log("this machine lets no test mount: TestFileTooLarge covers the same path")
	}
}

// mounts runs a child that may mount, where only it sees it, and reports whether
// it could.
func mounts(t *testing.T, name string) bool {
	t.Helper()
	cmd := child(t, name, privateDir(t))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
	}
	out, err := cmd.Output()
	if errors.Is(err, syscall.EPERM) || strings.Contains(string(out), "no mount") {
		return false
	}
	if err != nil {
		t.Errorf("%v %s", err, out)
	}
	return true
}

func fillDisk(dir string) error {
	if !mountTmpfs(dir) {
		return nil
	}
	return overfill(dir, syscall.ENOSPC, backends.Transient)
}

func mountTmpfs(dir string) bool {
	err := errors.Join(
		syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""),
		syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k,mode=0700"),
	)
	if err != nil {
		fmt.Println("no mount")
	}
	return err == nil
}

// Rule: only on a file system in memory does a call run in place, also after the
// directory was removed and is made again on another.
func TestMemoryFileSystem(t *testing.T) {
	if !mounts(t, "change disks") {
		t.Log("this machine lets no test mount: TestInPlace covers what follows from it")
	}
}

func changeDisks(dir string) error {
	var below syscall.Statfs_t
	if err := syscall.Statfs(dir, &below); err != nil || !mountTmpfs(dir) {
		return err
	}
	b, err := filebackend.Open(filepath.Join(dir, "cache"), nil)
	if err != nil {
		return err
	}
	defer b.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := b.Set(ctx, "key", []byte("value"), time.Hour); err != nil {
		return err
	}
	if !b.InMemory() {
		return errors.New("tmpfs is not in memory")
	}
	b.AwaitPass()
	if err := errors.Join(os.RemoveAll(filepath.Join(dir, "cache")), syscall.Unmount(dir, syscall.MNT_DETACH)); err != nil {
		return err
	}
	if err := b.Set(ctx, "key", []byte("value"), time.Hour); err != nil {
		return err
	}
	const tmpfs = 0x01021994 // statfs(2)
	if want := below.Type == tmpfs; b.InMemory() != want {
		return fmt.Errorf("in memory: %v, want %v, for the type of the file system is %x", !want, want, below.Type)
	}
	_, err = os.Stat(pathOf(filepath.Join(dir, "cache"), "key"))
	return err
}

// Rule: the same for a file that may not grow as large as it has to.
func TestFileTooLarge(t *testing.T) {
	if out, err := child(t, "grow too large", privateDir(t)).Output(); err != nil {
		t.Errorf("%v %s", err, out)
	}
}

func growTooLarge(dir string) error {
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 40_000, Max: 40_000}); err != nil {
		return err
	}
	return overfill(dir, syscall.EFBIG, backends.TooLarge)
}

func overfill(dir string, number syscall.Errno, kind backends.Kind) error {
	b, err := filebackend.Open(dir, nil)
	if err != nil {
		return err
	}
	defer b.Close()
	ctx := context.Background()
	old := bytes.Repeat([]byte("old"), 5_000)
	if err := b.Set(ctx, "key", old, time.Hour); err != nil {
		return err
	}
	b.AwaitPass()
	tooMuch := make([]byte, 100_000)
	_, swapErr := b.Swap(ctx, "key", old, tooMuch)
	for op, err := range map[string]error{"Set": b.Set(ctx, "key", tooMuch, time.Hour), "Swap": swapErr} {
		var failure *backends.Error
		if !errors.As(err, &failure) || failure.Kind != kind || !errors.Is(err, number) {
			return fmt.Errorf("%s = %w, want %v of kind %v", op, err, number, kind)
		}
	}
	if got, err := b.Get(ctx, "key"); err != nil || !bytes.Equal(got, old) {
		return fmt.Errorf("the old value is %d bytes (%v)", len(got), err)
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 2 {
		return fmt.Errorf("the directory has %d names (%v), want the entry and the lock file", len(names), err)
	}
	return b.Set(ctx, "key", []byte("new"), time.Hour)
}
