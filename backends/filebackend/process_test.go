//go:build unix

package filebackend_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/filebackend"
)

func child(t *testing.T, name, dir string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childEnv+"="+name, childEnv+"_DIR="+dir)
	cmd.Stderr = os.Stderr
	return cmd
}

const crashKeys = 4

// whole is a value of random length that tells if it is whole.
func whole(key string) []byte {
	v := make([]byte, 8+rand.IntN(300_000))
	binary.BigEndian.PutUint32(v[4:], rand.Uint32())
	for i := 8; i < len(v); i++ {
		v[i] = byte(i) ^ v[7]
	}
	copy(v[8:], key)
	binary.BigEndian.PutUint32(v, crc32.ChecksumIEEE(v[4:]))
	return v
}

func isWhole(v []byte, key string) bool {
	return len(v) >= 8 && binary.BigEndian.Uint32(v) == crc32.ChecksumIEEE(v[4:]) &&
		bytes.HasPrefix([]byte(key), v[8:min(len(v), 8+len(key))])
}

func writeForEver(dir string) error {
	b, err := filebackend.Open(dir, nil)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for i := 0; ; i++ {
		key := fmt.Sprint("key", i%crashKeys)
		if err := b.Set(context.Background(), key, whole(key), time.Hour); err != nil {
			return err
		}
	}
}

// Rule: a writer that is killed at any point leaves every entry whole, old or
// new, and no lock; what else it leaves is swept.
func TestKilledWriters(t *testing.T) {
	dir := privateDir(t)
	b := openAt(t, dir, nil)
	ctx := context.Background()
	for i := range crashKeys {
		key := fmt.Sprint("key", i)
		if err := b.Set(ctx, key, whole(key), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	readers.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				readWhole(t, b, fmt.Sprint("key", i%crashKeys))
			}
		}
	})
	for range 25 {
		cmd := child(t, "write for ever", dir)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 6)); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Duration(rand.IntN(int(20 * time.Millisecond))))
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		for i := range crashKeys {
			readWhole(t, b, fmt.Sprint("key", i))
		}
	}
	close(stop)
	readers.Wait()
	for i := range 200 { // every lock of the directory, sooner or later
		if err := b.Set(ctx, fmt.Sprint(i), nil, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	cleansUp(t, b, dir)
}

func readWhole(t *testing.T, b *filebackend.Backend, key string) {
	t.Helper()
	v, err := b.Get(context.Background(), key)
	if err != nil || !isWhole(v, key) {
		t.Errorf("Get = %d bytes, whole: %t, %v, want a whole value", len(v), isWhole(v, key), err)
	}
}

func cleansUp(t *testing.T, b *filebackend.Backend, dir string) {
	t.Helper()
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	temps := 0
	for _, n := range names {
		if strings.Contains(n.Name(), ".tmp.") {
			temps++
			age(t, dir+"/"+n.Name(), time.Hour)
		}
	}
	if removed, err := b.Sweep(context.Background()); removed != temps || err != nil {
		t.Errorf("Sweep removed %d files (%v), want the %d that killed writers left", removed, err, temps)
	}
	t.Logf("killed writers left %d temporary files", temps)
}

const increments = 60

// increment adds to one counter by Swap and to another under Lock.
func increment(dir string) error {
	b, err := filebackend.Open(dir, nil)
	if err != nil {
		return err
	}
	defer b.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for range increments {
		for swapped := false; !swapped; {
			old, err := b.Get(ctx, "swapped")
			if err != nil {
				return err
			}
			if swapped, err = b.Swap(ctx, "swapped", old, next(old)); err != nil {
				return err
			}
			if _, err := b.Touch(ctx, "swapped", time.Hour); err != nil {
				return err
			}
		}
		if err := underLock(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

func next(old []byte) []byte {
	return binary.BigEndian.AppendUint64(nil, binary.BigEndian.Uint64(old)+1)
}

func underLock(ctx context.Context, b *filebackend.Backend) error {
	for {
		token, err := b.Lock(ctx, "locked", time.Minute)
		if errors.Is(err, backends.ErrLocked) {
			continue
		}
		if err != nil {
			return err
		}
		old, err := b.Get(ctx, "locked")
		if err == nil {
			err = b.Set(ctx, "locked", next(old), time.Hour)
		}
		if err != nil {
			return err
		}
		if ok, err := b.Unlock(ctx, "locked", token); !ok || err != nil {
			return fmt.Errorf("Unlock = %t, %w", ok, err)
		}
		return nil
	}
}

// Rule: Swap and Lock hold between processes, and between backends of one
// process: no increment is lost.
func TestSeveralProcesses(t *testing.T) {
	dir := privateDir(t)
	b := openAt(t, dir, nil)
	ctx := context.Background()
	for _, key := range []string{"swapped", "locked"} {
		if err := b.Set(ctx, key, make([]byte, 8), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			if out, err := child(t, "increment", dir).Output(); err != nil {
				t.Errorf("child: %v %s", err, out)
			}
		})
		all.Go(func() {
			if err := increment(dir); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, key := range []string{"swapped", "locked"} {
		got, err := b.Get(ctx, key)
		if want := uint64(4 * increments); err != nil || binary.BigEndian.Uint64(got) != want {
			t.Errorf("the counter %q is %x (%v), want %d", key, got, err, want)
		}
	}
}

const expireRounds = 300

// readForAWhile reads one entry many times.
func readForAWhile(dir string) error {
	b, err := filebackend.Open(dir, nil)
	if err != nil {
		return err
	}
	defer b.Close()
	for range expireRounds * 10 {
		if _, err := b.Get(context.Background(), "raced"); err != nil && !errors.Is(err, backends.ErrNotFound) {
			return err
		}
	}
	return nil
}

// Rule: the removal of an expired entry by one process never takes what another
// has just stored (I7).
func TestExpiredReadsSpareWrites(t *testing.T) {
	dir := privateDir(t)
	b := openAt(t, dir, nil)
	ctx := context.Background()
	expired := []byte("CK\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01v")
	var reader sync.WaitGroup
	reader.Go(func() {
		if out, err := child(t, "read for a while", dir).Output(); err != nil {
			t.Errorf("child: %v %s", err, out)
		}
	})
	for i := range expireRounds {
		temp := fmt.Sprint(dir, "/planted", i)
		if err := errors.Join(os.WriteFile(temp, expired, 0o600), os.Rename(temp, pathOf(dir, "raced"))); err != nil {
			t.Fatal(err)
		}
		if err := b.Set(ctx, "raced", []byte("fresh"), time.Hour); err != nil {
			t.Fatal(err)
		}
		if got, err := b.Get(ctx, "raced"); err != nil || string(got) != "fresh" {
			t.Fatalf("round %d: Get = %q, %v, want what was just stored", i, got, err)
		}
	}
	reader.Wait()
}
