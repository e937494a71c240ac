package filebackend

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/cachekit-io/cachekit-go/backends"
)

// GetMany reads all keys, with their TTLs.
func (b *Backend) GetMany(ctx context.Context, keys []string) []backends.GetResult {
	out := make([]backends.GetResult, len(keys))
	each(len(keys), func(i int) { out[i].Entry, out[i].Err = b.GetEntry(ctx, keys[i]) })
	return out
}

// SetMany writes all items, each as Set does; the batch as a whole is not
// atomic.
func (b *Backend) SetMany(ctx context.Context, items []backends.Item) []error {
	out := make([]error, len(items))
	n, set := len(items), func(i int) { out[i] = b.Set(ctx, items[i].Key, items[i].Value, items[i].TTL) }
	if _, waits := b.waits(ctx); !waits {
		ends := groups(items)
		n, set = len(ends)-1, func(i int) { b.setGroup(ctx, items[ends[i]:ends[i+1]], out[ends[i]:ends[i+1]]) }
	}
	if !repeats(items) {
		each(n, set)
		return out
	}
	for i := range n {
		set(i)
	}
	return out
}

// The bounds of a group of items that are handed over together: by then the
// hand-over costs little by the writes, and the copies take little memory.
const (
	groupItems = 32
	groupBytes = 256 << 10
)

// groups returns where groups end, after a 0.
func groups(items []backends.Item) []int {
	ends, n, bytes := []int{0}, 0, 0
	for i, it := range items {
		if n > 0 && (n == groupItems || bytes+len(it.Value) > groupBytes) {
			ends, n, bytes = append(ends, i), 0, 0
		}
		n, bytes = n+1, bytes+len(it.Value)
	}
	return append(ends, len(items))
}

// setGroup writes items one after the other in one hand-over. If ctx ends before
// the last is written, all have its error.
func (b *Backend) setGroup(ctx context.Context, items []backends.Item, out []error) {
	writes, inputs := make([]write, 0, len(items)), make([]*[]byte, 0, len(items))
	for i := range items {
		w, err := b.writeOf(&items[i])
		if w.item, out[i] = i, err; err == nil {
			writes = append(writes, w)
			inputs = append(inputs, &writes[len(writes)-1].value)
		}
	}
	errs, err := b.writeAll(ctx, writes, inputs)
	for i, w := range writes {
		if out[w.item] = err; err == nil {
			out[w.item] = errs[i]
		}
	}
}

func (b *Backend) writeAll(ctx context.Context, writes []write, values []*[]byte) ([]error, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// More groups at once, of several batches, would spin for the kernel's lock of
	// the directory. Where each write is flushed, all that wait are flushed together.
	// A group whose lock is late gives its turn to others.
	if !b.opts.Sync {
		select {
		case b.groups <- struct{}{}:
			leave := sync.OnceFunc(func() { <-b.groups })
			defer leave()
			for i := range writes {
				writes[i].late = leave
			}
		case <-b.stop:
			return nil, backends.ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err := b.acquire(); err != nil {
		return nil, err
	}
	defer b.release()
	return handOver(ctx, b, "", func(a *attempt, _ string) ([]error, error) {
		errs := make([]error, len(writes))
		for i := 0; i < len(writes) && a.proceed(); i++ {
			errs[i] = wrap("set", b.write(ctx, a, &writes[i]))
		}
		return errs, nil
	}, values)
}

// repeats reports whether a key is there twice: then order matters.
func repeats(items []backends.Item) bool {
	seen := make(map[string]struct{}, len(items))
	for _, it := range items {
		seen[it.Key] = struct{}{}
	}
	return len(seen) < len(items)
}

// DeleteMany removes all keys.
func (b *Backend) DeleteMany(ctx context.Context, keys []string) []backends.DeleteResult {
	out := make([]backends.DeleteResult, len(keys))
	each(len(keys), func(i int) { out[i].Existed, out[i].Err = b.Delete(ctx, keys[i]) })
	return out
}

// batchWorkers is how many calls of a batch run at once, and groups of all batches:
// system calls on cached files take a processor each, so more do not help.
const batchWorkers = 4

// each runs f for 0..n-1 and waits for all.
func each(n int, f func(i int)) {
	workers := min(n, batchWorkers, runtime.GOMAXPROCS(0))
	if workers <= 1 {
		for i := range n {
			f(i)
		}
		return
	}
	var wg sync.WaitGroup
	var next atomic.Int64
	work := func() {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			f(i)
		}
	}
	for range workers - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
}
