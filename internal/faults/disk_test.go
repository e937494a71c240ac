//go:build linux

package faults_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/cachekit-io/cachekit-go/backends/filebackend"
	"github.com/cachekit-io/cachekit-go/secure"
)

func init() { roles["full disk"] = fullDiskChild }

const profileEnv = "CACHEKIT_FAULTS_PROFILE"

// fullDisk has a child mount a tiny file system where only it sees it.
func fullDisk(c *cell) {
	program, err := os.Executable()
	if err != nil {
		c.errorf("%v", err)
		return
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), roleEnv+"=full disk", profileEnv+"="+c.profile, storageEnv+"="+filepath.Join(c.t.TempDir(), "tiny"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
	}
	out, err := cmd.Output()
	var failed *exec.ExitError
	switch {
	case errors.Is(err, syscall.EPERM), errors.As(err, &failed) && failed.ExitCode() == noMount:
		c.t.Log("this machine lets no test mount: the disk does not get full")
		return
	case err != nil:
		c.errorf("the child: %v", err)
	case json.Unmarshal(out, &c.row) != nil:
		c.errorf("the child says %q", out)
	}
	for _, said := range []string{c.row.Get, c.row.Load, c.row.Copy} {
		if said != "ok" {
			c.errorf("a read or a load ended with %q", said)
		}
	}
	if c.row.Set != "unavailable" || c.row.Wrong != "none" || c.row.Back == "NO" {
		c.errorf("%+v", c.row)
	}
}

// noMount is the child's exit code where it may not mount.
const noMount = 77

func fullDiskChild() error {
	dir, profile := os.Getenv(storageEnv), os.Getenv(profileEnv)
	if err := errors.Join(os.Mkdir(dir, 0o700), syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""),
		syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k,mode=0700")); err != nil {
		os.Exit(noMount)
	}
	b, err := filebackend.Open(dir, nil)
	if err != nil {
		return err
	}
	cache, err := newCache(context.Background(), profile, b, nil)
	if err != nil {
		return err
	}
	r, err := onFullDisk(secure.For[value](cache), func() error {
		return syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=4m,mode=0700")
	})
	if err != nil {
		return err
	}
	text, err := json.Marshal(r)
	fmt.Println(string(text))
	return errors.Join(err, cache.Close(), b.Close())
}

func onFullDisk(view secure.View[value], heal func() error) (r row, err error) {
	ctx := context.Background()
	r.Wrong, r.Late = "none", "in time"
	small, large := newValue("held", 1), newValue("held", 2)
	large.Data = make([]byte, 200_000)
	if err := errors.Join(view.Set(ctx, "held", small), view.Set(ctx, "copied", newValue("copied", 1))); err != nil {
		return r, err
	}
	timed := func(f func(context.Context) error) string {
		ctx, cancel := context.WithTimeout(ctx, patient)
		defer cancel()
		start := time.Now()
		err := f(ctx)
		if time.Since(start) > patient+slack {
			r.Late = "LATE"
		}
		return classOf(err)
	}
	read := func(key string) func(context.Context) error {
		return func(ctx context.Context) error {
			v, found, err := view.Get(ctx, key)
			if err == nil && (!found || v.Version != 1 || !v.isOf(key)) {
				r.Wrong = "WRONG"
			}
			return err
		}
	}
	r.Set = timed(func(ctx context.Context) error { return view.Set(ctx, "held", large) })
	r.Get = timed(read("held")) // the copy was dropped: this reads the disk
	r.Load = timed(func(ctx context.Context) error {
		_, err := view.GetOrLoad(ctx, "loaded", func(context.Context) (value, error) { return large, nil })
		return err
	})
	r.Copy = timed(read("copied"))
	if err := heal(); err != nil {
		return r, err
	}
	start := time.Now()
	if r.Back = took(0); !within(recovery, func(ctx context.Context) bool { return view.Set(ctx, "held", large) == nil }) {
		r.Back = "NO"
		return r, nil
	}
	r.Back = took(time.Since(start))
	return r, nil
}
