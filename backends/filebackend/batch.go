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
	set := func(i int) { out[i] = b.Set(ctx, items[i].Key, items[i].Value, items[i].TTL) }
	if repeats(items) {
		for i := range items {
			set(i)
		}
		return out
	}
	each(len(items), set)
	return out
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

// batchWorkers is how many calls of a batch run at once: system calls on cached
// files take a processor each, so more do not help.
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
	for range workers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}
