package filebackend_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/filebackend"
)

// eventually polls until done returns true, for at most ten seconds.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not after ten seconds: %s", what)
		}
	}
}

// Rule: a write whose caller has gone takes no effect, leaves nothing behind and
// does not keep a goroutine once the disk is back.
func TestAbandonedWrites(t *testing.T) {
	defer goleak.VerifyNone(t)
	dir, d := privateDir(t), new(disk)
	b := openOn(t, d, dir, &filebackend.Options{SweepInterval: -1})
	background := context.Background()
	if err := b.Set(background, "key", []byte("old"), time.Hour); err != nil {
		t.Fatal(err)
	}
	b.AwaitPass()
	for name, write := range map[string]func(context.Context) error{
		"Set":    func(ctx context.Context) error { return b.Set(ctx, "key", []byte("late"), time.Hour) },
		"Delete": func(ctx context.Context) error { _, err := b.Delete(ctx, "key"); return err },
		"Touch":  func(ctx context.Context) error { _, err := b.Touch(ctx, "key", time.Minute); return err },
		"Swap": func(ctx context.Context) error {
			_, err := b.Swap(ctx, "key", []byte("old"), []byte("late"))
			return err
		},
		"Lock": func(ctx context.Context) error { _, err := b.Lock(ctx, "key", time.Hour); return err },
	} {
		ctx, cancel := context.WithCancel(background)
		d.stall()
		failed := make(chan error, 1)
		go func() { failed <- write(ctx) }()
		eventually(t, "the call is stuck", func() bool { _, waiting := d.seen(); return waiting > 0 })
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("%s = %v, want context.Canceled", name, err)
		}
		d.resume()
		b.Idle()
		if got, err := b.Get(background, "key"); err != nil || string(got) != "old" {
			t.Errorf("after an abandoned %s the value is %q, %v, want the old one", name, got, err)
		}
		if ttl, err := b.TTL(background, "key"); err != nil || ttl < 50*time.Minute {
			t.Errorf("after an abandoned %s the ttl is %v, %v, want the old one", name, ttl, err)
		}
		token, err := b.Lock(background, "key", time.Hour)
		if err != nil {
			t.Errorf("after an abandoned %s the lock is taken: %v", name, err)
		}
		if _, err := b.Unlock(background, "key", token); err != nil {
			t.Error(err)
		}
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 2 {
		t.Errorf("the directory has %d names (%v), want the entry and the lock file", len(names), err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// Rule: a context that has ended already does nothing.
func TestEndedContext(t *testing.T) {
	d := new(disk)
	b := openOn(t, d, privateDir(t), nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	before, _ := d.seen()
	_, getErr := b.Get(ctx, "key")
	for _, err := range []error{getErr, b.Set(ctx, "key", nil, time.Hour), b.Health(ctx).Err} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("a call with an ended context = %v, want context.Canceled", err)
		}
	}
	if after, _ := d.seen(); after != before {
		t.Errorf("calls with an ended context made %d system calls, want none", after-before)
	}
}

// Rule: a disk that stalls holds a bounded number of goroutines, and calls beyond
// them still end with their contexts.
func TestStallIsBounded(t *testing.T) {
	defer goleak.VerifyNone(t)
	d := new(disk)
	b := openOn(t, d, privateDir(t), &filebackend.Options{SweepInterval: -1})
	d.stall()
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	const callers = 400
	failed := make(chan error, callers)
	for range callers {
		go func() { _, err := b.Get(ctx, "key"); failed <- err }()
	}
	for range callers {
		if err := <-failed; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Get on a stalled disk = %v, want context.DeadlineExceeded", err)
		}
	}
	if _, waiting := d.seen(); waiting > filebackend.MaxDetached {
		t.Errorf("%d goroutines are stuck, want at most %d", waiting, filebackend.MaxDetached)
	}
	d.resume()
	if _, err := b.Get(context.Background(), "key"); !errors.Is(err, backends.ErrNotFound) {
		t.Errorf("Get on a disk that is back = %v, want ErrNotFound", err)
	}
	b.Idle()
	b.Close()
}

// Rule: what a sister SDK stores while a reader decides to remove the expired
// entry of the same name stays.
func TestExpiredIsRemovedIfSame(t *testing.T) {
	dir, d := privateDir(t), new(disk)
	b := openOn(t, d, dir, nil)
	expired := []byte("CK\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01old")
	path, fresh := pathOf(dir, "key"), pathOf(dir, "key")+".tmp.1.1"
	if err := os.WriteFile(path, expired, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(fresh, []byte(entryOfPeer), 0o600); err != nil {
		t.Fatal(err)
	}
	before, _ := d.seen()
	d.onCall(before+2, func() { // the first opens the file, the second asks who has its name
		if err := os.Rename(fresh, path); err != nil {
			t.Error(err)
		}
	})
	if _, err := b.Get(context.Background(), "key"); !errors.Is(err, backends.ErrNotFound) {
		t.Errorf("Get of an expired entry = %v, want ErrNotFound", err)
	}
	if got, err := b.Get(context.Background(), "key"); err != nil || string(got) != "payload" {
		t.Errorf("Get of what was stored meanwhile = %q, %v, want payload", got, err)
	}
	if _, waiting := d.seen(); waiting != 0 {
		t.Error("the disk is stalled")
	}
}

// Rule: failures have the kind that says what helps, and their texts and causes
// name neither the key nor its file.
func TestErrorKinds(t *testing.T) {
	ctx := context.Background()
	for number, kind := range map[syscall.Errno]backends.Kind{
		syscall.EIO: backends.Transient, syscall.ENOSPC: backends.Transient, syscall.EDQUOT: backends.Transient,
		syscall.ESTALE: backends.Transient, syscall.ETIMEDOUT: backends.Timeout, syscall.EMFILE: backends.Overload,
		syscall.EROFS: backends.Permanent, syscall.EACCES: backends.Permanent, syscall.EFBIG: backends.TooLarge,
	} {
		d := new(disk)
		b := openOn(t, d, privateDir(t), nil)
		d.fail(number)
		_, getErr := b.Get(ctx, "secret-key")
		_, delErr := b.Delete(ctx, "secret-key")
		_, lockErr := b.Lock(ctx, "secret-key", time.Hour)
		_, sweepErr := b.Sweep(ctx)
		for _, err := range []error{getErr, delErr, lockErr, sweepErr, b.Set(ctx, "secret-key", nil, time.Hour), b.Health(ctx).Err} {
			var failure *backends.Error
			if !errors.As(err, &failure) || failure.Kind != kind || !errors.Is(err, number) {
				t.Errorf("a call on a disk with %v = %v, want kind %v", number, err, kind)
				continue
			}
			for _, secret := range []string{"secret-key", filebackend.FileName("secret-key"), ".tmp."} {
				if strings.Contains(err.Error(), secret) || strings.Contains(failure.Err.Error(), secret) {
					t.Errorf("the text %q contains %q", err, secret)
				}
			}
		}
	}
}

// Rule: a directory that was removed under a running process is made again by
// the next write, with all the checks of Open.
func TestRemovedDirectory(t *testing.T) {
	ctx := context.Background()
	dir := privateDir(t)
	b := openAt(t, dir, nil)
	for range 3 {
		if err := b.Set(ctx, "key", []byte("value"), time.Hour); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(pathOf(dir, "key")); err != nil {
			t.Fatal(err)
		}
		b.AwaitPass()
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Get(ctx, "key"); !errors.Is(err, backends.ErrNotFound) {
			t.Errorf("Get = %v, want ErrNotFound", err)
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := b.Set(ctx, "key", nil, time.Hour); !errors.Is(err, filebackend.ErrUnsafe) {
		t.Errorf("Set into a directory that others can enter = %v, want ErrUnsafe", err)
	}
	if h := b.Health(ctx); h.OK || !errors.Is(h.Err, filebackend.ErrUnsafe) {
		t.Errorf("Health = %v, want ErrUnsafe", h.Err)
	}
}
