package filebackend_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/filebackend"
)

func itemsOf(n int, value func(i int) []byte) []backends.Item {
	items := make([]backends.Item, n)
	for i := range items {
		items[i] = backends.Item{Key: benchKey(i), Value: value(i), TTL: time.Hour}
	}
	return items
}

// Rule: a batch that is handed over in groups answers each item as Set does.
func TestSetManyInGroups(t *testing.T) {
	b := openOn(t, nil, privateDir(t), &filebackend.Options{MaxValueBytes: 400_000})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	items := itemsOf(150, func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, i*i) })
	items[40].Value = make([]byte, 300_000) // more than a group takes
	items[31].TTL, items[32].Key, items[149].Value = 0, "", make([]byte, 400_001)
	wrong := map[int]bool{31: true, 32: true, 149: true}
	for i, err := range b.SetMany(ctx, items) {
		if (err != nil) != wrong[i] {
			t.Errorf("item %d: %v, want an error: %v", i, err, wrong[i])
		}
		if wrong[i] {
			continue
		}
		if got, err := b.Get(ctx, items[i].Key); err != nil || !bytes.Equal(got, items[i].Value) {
			t.Errorf("item %d reads back as %d bytes, %v, want %d", i, len(got), err, len(items[i].Value))
		}
	}
}

// Rule: of two items with one key the later one stays, in whatever groups they are.
func TestSetManyInOrder(t *testing.T) {
	b := openOn(t, nil, privateDir(t), nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 20 {
		items := itemsOf(200, func(i int) []byte { return []byte{byte(i)} })
		for i := range items {
			items[i].Key = benchKey(i % 40)
		}
		if err := errors.Join(b.SetMany(ctx, items)...); err != nil {
			t.Fatal(err)
		}
		for _, it := range items[160:] {
			if got, err := b.Get(ctx, it.Key); err != nil || !bytes.Equal(got, it.Value) {
				t.Fatalf("got %v, %v, want %v", got, err, it.Value)
			}
		}
	}
}

// Rule: of a batch that is abandoned, only what had been written by then takes
// effect; its caller may use the values again at once.
func TestAbandonedBatch(t *testing.T) {
	dir, d := privateDir(t), new(disk)
	b := openOn(t, d, dir, &filebackend.Options{MaxBytes: -1})
	old := itemsOf(20, func(i int) []byte { return []byte("old") })
	if err := errors.Join(b.SetMany(t.Context(), old)...); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	items := itemsOf(20, func(i int) []byte { return []byte("new") })
	returned, resumed := make(chan []error, 1), make(chan struct{})
	const written, calls = 5, 3 // a write creates, asks and renames
	before, _ := d.seen()
	d.onCall(before+calls*written+1, func() {
		cancel()
		<-resumed
	})
	temps := make(map[string]string)
	see := func() {
		paths, _ := filepath.Glob(filepath.Join(dir, "*.tmp.*"))
		for _, path := range paths {
			raw, _ := os.ReadFile(path)
			temps[path] = string(raw[min(len(raw), 14):])
		}
	}
	d.onCall(before+calls*written+2, see) // what it wrote is removed, or renamed
	d.onCall(before+calls*written+3, see)
	go func() { returned <- b.SetMany(ctx, items) }()
	for i, err := range <-returned {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("item %d = %v, want context.Canceled", i, err)
		}
		copy(items[i].Value, "XXX")
	}
	close(resumed)
	b.Idle()
	for i, it := range items {
		want := "old"
		if i < written {
			want = "new"
		}
		if got, err := b.Get(t.Context(), it.Key); err != nil || string(got) != want {
			t.Errorf("item %d is %q, %v, want %q", i, got, err, want)
		}
	}
	for _, content := range temps {
		if content != "new" {
			t.Errorf("the abandoned write had %q, want the value of its call", content)
		}
	}
	if len(temps) != 1 {
		t.Errorf("%d temporary files were seen, want 1", len(temps))
	}
	if after, _ := d.seen(); after > before+calls*written+3+len(items) {
		t.Errorf("%d system calls after the end of the call", after-before-calls*written-len(items))
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != len(items)+1 {
		t.Errorf("the directory has %d names (%v), want the entries and the lock file", len(names), err)
	}
}

// Rule: calls that are handed over at the same time do not share copies.
func TestCopiesAreOwn(t *testing.T) {
	b := openOn(t, nil, privateDir(t), &filebackend.Options{MaxBytes: -1})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			value, shared := bytes.Repeat([]byte{byte(w)}, 1000+3000*w), make([]byte, 1000+3000*w)
			for range 50 {
				copy(shared, value)
				if err := b.Set(ctx, benchKey(w), shared, time.Hour); err != nil {
					t.Error(err)
					return
				}
				clear(shared)
				if got, err := b.Get(ctx, benchKey(w)); err != nil || !bytes.Equal(got, value) {
					t.Errorf("writer %d reads another value (%v)", w, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// Rule: however many batches come at once, few of their groups are written at once:
// the others would spin for the kernel's lock of the directory.
func TestFewGroupsAtOnce(t *testing.T) {
	var running, most, count atomic.Int32
	b, err := filebackend.OpenGated(privateDir(t), &filebackend.Options{MaxBytes: -1}, func() error {
		n := running.Add(1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		time.Sleep(100 * time.Microsecond)
		running.Add(-1)
		count.Add(1)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var batches sync.WaitGroup
	for n := range 16 {
		batches.Go(func() {
			items := itemsOf(20, func(int) []byte { return []byte("v") })
			for i := range items {
				items[i].Key = benchKey(20*n + i)
			}
			if err := errors.Join(b.SetMany(ctx, items)...); err != nil {
				t.Error(err)
			}
		})
	}
	batches.Wait()
	if most.Load() > filebackend.BatchWorkers || count.Load() < 16*20 {
		t.Errorf("%d calls of the file system at once, of %d, want up to %d", most.Load(), count.Load(), filebackend.BatchWorkers)
	}
}

// hung is a disk that hangs, with as many batches on it as have their turn at once;
// end gives them up.
func hung(t *testing.T) (d *disk, b *filebackend.Backend, end func()) {
	d = new(disk)
	b = openOn(t, d, privateDir(t), &filebackend.Options{MaxBytes: -1})
	ctx, cancel := context.WithCancel(t.Context())
	d.stall()
	var batches sync.WaitGroup
	for n := range filebackend.BatchWorkers {
		batches.Go(func() { b.SetMany(ctx, []backends.Item{{Key: benchKey(n), TTL: time.Hour}}) })
	}
	for _, stuck := d.seen(); stuck < filebackend.BatchWorkers; _, stuck = d.seen() {
		time.Sleep(time.Millisecond)
	}
	return d, b, func() { cancel(); batches.Wait() }
}

// Rule: a batch that waits for its turn behind others, on a disk that hangs, ends
// with its context.
func TestWaitingBatchEnds(t *testing.T) {
	d, b, end := hung(t)
	short, done := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer done()
	if err := b.SetMany(short, []backends.Item{{Key: "k", TTL: time.Hour}})[0]; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("SetMany = %v, want the end of the context", err)
	}
	if calls, _ := d.seen(); calls != filebackend.BatchWorkers {
		t.Errorf("%d calls of the file system, want those of the %d that have their turn", calls, filebackend.BatchWorkers)
	}
	end()
}

// Rule: Close ends the batches that wait for their turn on a disk that hangs, and
// refuses further ones at once.
func TestCloseEndsWaitingBatches(t *testing.T) {
	_, b, end := hung(t)
	patient, done := context.WithTimeout(t.Context(), 20*time.Second)
	defer done()
	set := func() error { return b.SetMany(patient, []backends.Item{{Key: "k", TTL: time.Hour}})[0] }
	waiting := make(chan error, 1)
	go func() { waiting <- set() }()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if err := set(); !errors.Is(err, backends.ErrClosed) {
		t.Errorf("a batch after Close = %v, want ErrClosed", err)
	}
	if err := <-waiting; !errors.Is(err, backends.ErrClosed) {
		t.Errorf("a batch that waited = %v, want ErrClosed", err)
	}
	end()
}

// Rule: batches that wait for the lock of a file, which a process that was stopped
// holds, do not keep their turns from the others.
func TestHeldLockStopsNoOtherBatch(t *testing.T) {
	dir := privateDir(t)
	b := openOn(t, nil, dir, &filebackend.Options{MaxBytes: -1, SweepInterval: -1})
	release, err := b.HoldLock(t.Context(), "held")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var batches sync.WaitGroup
	for range filebackend.BatchWorkers {
		batches.Go(func() {
			if err := b.SetMany(ctx, []backends.Item{{Key: "held", TTL: time.Hour}})[0]; err != nil {
				t.Error(err)
			}
		})
	}
	temps := func() int { paths, _ := filepath.Glob(filepath.Join(dir, "*.tmp.*")); return len(paths) }
	for temps() < filebackend.BatchWorkers {
		time.Sleep(time.Millisecond)
	}
	patient, done := context.WithTimeout(t.Context(), 20*time.Second)
	defer done()
	if err := b.SetMany(patient, []backends.Item{{Key: "other", TTL: time.Hour}})[0]; err != nil {
		t.Errorf("a batch of another file: %v", err)
	}
	release()
	batches.Wait()
}
