package filebackend_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/filebackend"
)

// takes is what the files of dir take on the disk, in blocks of 4 KiB, and how
// many entries there are.
func takes(t *testing.T, dir string) (bytes int64, entries int) {
	t.Helper()
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		info, err := n.Info()
		if err != nil || len(n.Name()) != 32 {
			continue // gone meanwhile, or no entry
		}
		bytes += (info.Size() + 4095) / 4096 * 4096
		entries++
	}
	return bytes, entries
}

func age(t *testing.T, path string, d time.Duration) {
	t.Helper()
	then := time.Now().Add(-d)
	if err := os.Chtimes(path, then, then); err != nil {
		t.Fatal(err)
	}
}

func has(t *testing.T, b *filebackend.Backend, key string) bool {
	t.Helper()
	ok, err := b.Exists(context.Background(), key)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

// Rule: nine tenths of the bound start an eviction that goes down to seven, and
// the entries used least recently go first, where reading and touching is use,
// also in an earlier process.
func TestEvictionOrder(t *testing.T) {
	ctx := context.Background()
	dir := privateDir(t)
	opts := &filebackend.Options{MaxBytes: 20 * 4096}
	b := openAt(t, dir, opts)
	const n = 17 // 18 blocks are nine tenths
	for i := range n {
		key := fmt.Sprint("key", i)
		if err := b.Set(ctx, key, []byte("value"), time.Hour); err != nil {
			t.Fatal(err)
		}
		age(t, pathOf(dir, key), time.Duration(n-i)*time.Hour)
	}
	b.Enforce()
	if bytes, entries := takes(t, dir); entries != n {
		t.Fatalf("%d entries of %d bytes are left below the mark, want %d", entries, bytes, n)
	}
	if _, err := b.Get(ctx, "key0"); err != nil {
		t.Fatal(err)
	}
	if ok, err := b.Touch(ctx, "key1", time.Hour); !ok || err != nil {
		t.Fatalf("Touch = %t, %v", ok, err)
	}
	b.Close()
	b = openAt(t, dir, opts)
	if err := b.Set(ctx, "last", []byte("value"), time.Hour); err != nil {
		t.Fatal(err)
	}
	b.Enforce()
	if _, entries := takes(t, dir); entries != 14 {
		t.Errorf("%d entries are left, want 14, seven tenths", entries)
	}
	for i := range n {
		key, want := fmt.Sprint("key", i), i < 2 || i > 5
		if got := has(t, b, key); got != want {
			t.Errorf("%s is there: %t, want %t", key, got, want)
		}
	}
	if !has(t, b, "last") {
		t.Error("the entry that was just stored is gone")
	}
}

// Rule: a read is recorded if the last one is more than ten seconds old or came
// before the last write, and the time of writing never changes by it.
func TestReadsAreRecorded(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		rule        string
		read, wrote time.Duration // ago
		recorded    bool
	}{
		{"never read since it was written", 2 * time.Second, 2 * time.Second, true},
		{"read an hour ago", time.Hour, 2 * time.Hour, true},
		{"read just now", 5 * time.Second, 2 * time.Hour, false},
	} {
		dir := privateDir(t)
		b := openAt(t, dir, nil)
		if err := b.Set(ctx, "key", nil, time.Hour); err != nil {
			t.Fatal(err)
		}
		b.AwaitPass()
		path, now := pathOf(dir, "key"), time.Now()
		if err := os.Chtimes(path, now.Add(-c.read), now.Add(-c.wrote)); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Get(ctx, "key"); err != nil {
			t.Fatal(err)
		}
		read, wrote := filebackend.Times(path)
		if got := !read.Before(now.Add(-time.Second)); got != c.recorded {
			t.Errorf("%s: the access time is %v ago, want it recorded: %t", c.rule, time.Since(read), c.recorded)
		}
		if want := now.Add(-c.wrote); !wrote.Equal(want) {
			t.Errorf("%s: the time of writing is %v, want %v", c.rule, wrote, want)
		}
	}
}

// Rule: a file of another version is never evicted, and does not keep others
// from being evicted.
func TestEvictionSparesOtherVersions(t *testing.T) {
	ctx := context.Background()
	dir := privateDir(t)
	b := openAt(t, dir, &filebackend.Options{MaxBytes: 10 * 4096})
	future := pathOf(dir, "future")
	if err := os.WriteFile(future, []byte("CK\x01\x00\x80\x00\x00\x00\x00\x00\x00\x00\x00\x01new"), 0o600); err != nil {
		t.Fatal(err)
	}
	age(t, future, 1000*time.Hour)
	for i := range 30 {
		if err := b.Set(ctx, fmt.Sprint("key", i), nil, time.Hour); err != nil {
			t.Fatal(err)
		}
		b.Enforce()
	}
	if _, entries := takes(t, dir); entries > 10 {
		t.Errorf("%d entries are left, want at most 10", entries)
	}
	if _, err := os.Stat(future); err != nil {
		t.Errorf("the file of another version is gone: %v", err)
	}
	if !has(t, b, "key29") {
		t.Error("the entry that was just stored is gone")
	}
}

// Rule: the bound holds for many writers, by what they write themselves and
// what others wrote before, overwrites counting once.
func TestBoundHolds(t *testing.T) {
	ctx := context.Background()
	dir := privateDir(t)
	const limit, writers = 64 * 4096, 8
	other := openAt(t, dir, &filebackend.Options{MaxBytes: -1})
	for i := range 100 {
		if err := other.Set(ctx, fmt.Sprint("other", i), make([]byte, 5000), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	b := openAt(t, dir, &filebackend.Options{MaxBytes: limit})
	b.Enforce()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range 200 {
				if err := b.Set(ctx, fmt.Sprint(w, i%100), make([]byte, 3000+i), time.Hour); err != nil {
					t.Error(err)
				}
				if bytes, _ := takes(t, dir); bytes > limit+writers*4096 {
					t.Errorf("the entries take %d bytes, want at most %d and one write of each writer", bytes, limit)
				}
			}
		})
	}
	wg.Wait()
	b.AwaitPass()
	b.Enforce() // counts again: while others write, a count may be too high
	bytes, entries := takes(t, dir)
	if bytes > limit {
		t.Errorf("the entries take %d bytes, want at most %d", bytes, limit)
	}
	h := b.Health(ctx)
	if !h.OK || h.Details["entries"] != fmt.Sprint(entries) || h.Details["bytes"] != fmt.Sprint(bytes) {
		t.Errorf("Health = %+v, want %d entries of %d bytes", h, entries, bytes)
	}
}

// Rule: without a bound nothing is evicted and reads are not recorded.
func TestNoBound(t *testing.T) {
	ctx := context.Background()
	dir := privateDir(t)
	b := openAt(t, dir, &filebackend.Options{MaxBytes: -1})
	if err := b.Set(ctx, "key", make([]byte, 1<<20), time.Hour); err != nil {
		t.Fatal(err)
	}
	b.Enforce()
	if !has(t, b, "key") {
		t.Error("the entry is gone")
	}
}

// Rule: a sweep removes what has expired, locks too, and temporary files that are
// old, whoever made them; nothing else.
func TestSweep(t *testing.T) {
	ctx := context.Background()
	dir := privateDir(t)
	b := openAt(t, dir, nil)
	files := map[string]struct {
		content string
		age     time.Duration
		stays   bool
	}{
		filebackend.FileName("live"):                        {"CK\x01\x00\x00\x00\x00\x00\x00\x00\xff\x00\x00\x00v", 0, true},
		filebackend.FileName("expired"):                     {"CK\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01v", 0, false},
		filebackend.FileName("unknown"):                     {"CK\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01v", time.Hour, true},
		filebackend.FileName("corrupt"):                     {"??", time.Hour, true},
		filebackend.FileName("a") + ".tmp.12.345":           {"", time.Hour, false},
		filebackend.FileName("b") + ".tmp.12.1700000000000": {"half", 11 * time.Minute, false},
		filebackend.FileName("c") + ".tmp.12.1.2":           {"half", 9 * time.Minute, true},
		".lock-" + filebackend.FileName("expired-lock"):     {"\x00\x00\x00\x00\x00\x00\x00\x010123456789abcdef", 0, false},
		".lock-" + filebackend.FileName("held-lock"):        {"\x7f\x00\x00\x00\x00\x00\x00\x010123456789abcdef", time.Hour, true},
		"notes.txt": {"CK", time.Hour, true},
	}
	for name, f := range files {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(f.content), 0o600); err != nil {
			t.Fatal(err)
		}
		age(t, path, f.age)
	}
	if removed, err := b.Sweep(ctx); removed != 4 || err != nil {
		t.Errorf("Sweep = %d, %v, want 4, nil", removed, err)
	}
	for name, f := range files {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != f.stays {
			t.Errorf("%s: %v, want it to stay: %t", name, err, f.stays)
		}
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := b.Sweep(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("Sweep with an ended context = %v, want context.Canceled", err)
	}
	b.Close()
	if _, err := b.Sweep(ctx); !errors.Is(err, backends.ErrClosed) {
		t.Errorf("Sweep after Close = %v, want ErrClosed", err)
	}
}

// Rule: the sweep runs by itself, and stops with the backend.
func TestSweepRuns(t *testing.T) {
	dir := privateDir(t)
	b := openAt(t, dir, &filebackend.Options{SweepInterval: time.Millisecond})
	path := pathOf(dir, "key")
	plant := func() {
		t.Helper()
		if err := os.WriteFile(path, []byte("CK\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01v"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	plant()
	eventually(t, "the expired entry is removed", func() bool {
		_, err := os.Stat(path)
		return errors.Is(err, os.ErrNotExist)
	})
	b.Close()
	plant()
	if _, err := os.Stat(path); err != nil {
		t.Errorf("a closed backend sweeps: %v", err)
	}
}

// Rule: the first write of a process starts a pass that also removes what killed
// processes left behind.
func TestFirstWriteCleansUp(t *testing.T) {
	dir := privateDir(t)
	left := pathOf(dir, "key") + ".tmp.1.2"
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	age(t, left, time.Hour)
	b := openAt(t, dir, nil)
	if err := b.Set(context.Background(), "key", nil, time.Hour); err != nil {
		t.Fatal(err)
	}
	b.AwaitPass()
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a temporary file of an hour ago is there (%v), want it removed", err)
	}
}
