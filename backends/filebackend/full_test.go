//go:build linux

package filebackend_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
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
	cmd := child(t, "fill the disk", privateDir(t))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
	}
	out, err := cmd.Output()
	if errors.Is(err, syscall.EPERM) || strings.Contains(string(out), "no mount") {
		t.Log("this machine lets no test mount: TestFileTooLarge covers the same path")
		return
	}
	if err != nil {
		t.Errorf("%v %s", err, out)
	}
}

func fillDisk(dir string) error {
	if err := errors.Join(
		syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""),
		syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k,mode=0700"),
	); err != nil {
		fmt.Println("no mount")
		return nil
	}
	return overfill(dir, syscall.ENOSPC, backends.Transient)
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
