package store

import (
	"context"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/counted"
	"github.com/cachekit-io/cachekit-go/internal/envelope"
)

// parallel is how many calls a batch has under way on a backend that cannot
// batch itself.
const parallel = 16

// GetResult is what became of one key of a batch.
type GetResult struct {
	Fetched Fetched
	Found   bool
	Err     error
}

// GetMany reads many keys, in one round trip where the backend can. There is
// one result for each key, in order. If room is not nil, entries may lie in what it
// returned, as backends.BatchReader says.
func (s *Store) GetMany(ctx context.Context, keys []string, withAge bool, room func(size int) []byte) iter.Seq2[int, GetResult] {
	if s.caps.Batcher == nil {
		return s.getEach(ctx, keys, withAge)
	}
	ctx, call := s.begin(ctx, "get many", "", len(keys))
	var results []backends.GetResult
	defer func() {
		call.many(len(results), func(i int) (bool, error) { return results[i].Err == nil, missIsNil(results[i].Err) })
	}()
	results = counted.Results("get many", s.readMany(ctx, keys, room), len(keys), func(r *backends.GetResult) *error { return &r.Err })
	return func(yield func(int, GetResult) bool) {
		for i, r := range results {
			if !yield(i, resultOf(keys[i], r)) {
				return
			}
		}
	}
}

func resultOf(key string, r backends.GetResult) GetResult {
	if r.Err != nil {
		return GetResult{Err: missIsNil(r.Err)}
	}
	return GetResult{Fetched: fetched(key, r.Entry), Found: true}
}

func (s *Store) readMany(ctx context.Context, keys []string, room func(size int) []byte) []backends.GetResult {
	if room != nil && s.caps.BatchReader != nil {
		return s.caps.BatchReader.ReadMany(ctx, keys, room)
	}
	return s.caps.Batcher.GetMany(ctx, keys)
}

// GetEach is GetMany with the age of every entry, where the storage can tell it:
// a call for each key.
func (s *Store) GetEach(ctx context.Context, keys []string) iter.Seq2[int, GetResult] {
	return s.getEach(ctx, keys, true)
}

func (s *Store) getEach(ctx context.Context, keys []string, withAge bool) iter.Seq2[int, GetResult] {
	out := make([]GetResult, len(keys))
	each(len(keys), func(i int) {
		r := &out[i]
		r.Fetched, r.Found, r.Err = s.Get(ctx, keys[i], withAge)
	})
	return slices.All(out)
}

// PutMany writes many entries. There is one error for each, in order.
func (s *Store) PutMany(ctx context.Context, entries []envelope.Sealed, ttl time.Duration) []error {
	if s.caps.Batcher == nil {
		out := make([]error, len(entries))
		each(len(entries), func(i int) { out[i] = s.Put(ctx, entries[i], ttl) })
		return out
	}
	items := make([]backends.Item, len(entries))
	for i, e := range entries {
		if e.IsZero() {
			return slices.Repeat([]error{envelope.ErrZero}, len(entries))
		}
		items[i] = backends.Item{Key: e.Key(), Value: e.Bytes(), TTL: ttl}
	}
	ctx, call := s.begin(ctx, "set many", "", len(items))
	out := counted.Results("set many", s.caps.Batcher.SetMany(ctx, items), len(items), func(err *error) *error { return err })
	call.many(len(out), func(i int) (bool, error) { return false, out[i] })
	return out
}

// DeleteMany removes many entries. There is one result for each, in order.
func (s *Store) DeleteMany(ctx context.Context, keys []string) []backends.DeleteResult {
	if s.caps.Batcher != nil {
		ctx, call := s.begin(ctx, "delete many", "", len(keys))
		out := counted.Results("delete many", s.caps.Batcher.DeleteMany(ctx, keys), len(keys), func(r *backends.DeleteResult) *error { return &r.Err })
		call.many(len(out), func(i int) (bool, error) { return out[i].Existed, out[i].Err })
		return out
	}
	out := make([]backends.DeleteResult, len(keys))
	each(len(keys), func(i int) { out[i].Existed, out[i].Err = s.Delete(ctx, keys[i]) })
	return out
}

// Pair is an entry as it was read and what is to replace it.
type Pair struct{ Old, New envelope.Sealed }

// SwapMany is Swap for many entries, in one round trip where the backend can.
// There is one result for each, in order.
func (s *Store) SwapMany(ctx context.Context, pairs []Pair) []backends.SwapResult {
	out := make([]backends.SwapResult, len(pairs))
	if s.caps.BatchSwapper == nil {
		each(len(pairs), func(i int) { out[i].Swapped, out[i].Err = s.Swap(ctx, pairs[i].Old, pairs[i].New) })
		return out
	}
	items := make([]backends.SwapItem, len(pairs))
	for i, p := range pairs {
		if err := swappable(p.Old, p.New); err != nil {
			return slices.Repeat([]backends.SwapResult{{Err: err}}, len(pairs))
		}
		items[i] = backends.SwapItem{Key: p.New.Key(), Old: p.Old.Bytes(), New: p.New.Bytes()}
	}
	return counted.Results("swap many", s.caps.BatchSwapper.SwapMany(ctx, items), len(items), func(r *backends.SwapResult) *error { return &r.Err })
}

// CanRewrite reports whether the storage can read and replace in one.
func (s *Store) CanRewrite() bool { return s.caps.Rewriter != nil }

// RewriteMany reads the entries of keys, gives each that there is to replace, once,
// and stores what that returns, sealed for the same key, as backends.Rewriter says;
// a zero entry leaves what is there. Unless stored is nil, it is given each entry
// that was rewritten, as it is read back; found is false if it is gone. The storage
// must be able to.
func (s *Store) RewriteMany(ctx context.Context, keys []string, replace func(i int, r envelope.Received) envelope.Sealed,
	stored func(i int, r envelope.Received, found bool)) []backends.RewriteResult {
	var strays []int
	var back func(int, []byte)
	if stored != nil {
		back = func(i int, value []byte) { stored(i, envelope.Receive(keys[i], value), value != nil) }
	}
	out := s.caps.Rewriter.RewriteMany(ctx, keys, func(i int, value []byte) []byte {
		e := replace(i, envelope.Receive(keys[i], value))
		switch {
		case e.IsZero():
			return nil
		case e.Key() != keys[i]:
			strays = append(strays, i)
			return nil
		}
		return e.Bytes()
	}, back)
	out = counted.Results("rewrite many", out, len(keys), func(r *backends.RewriteResult) *error { return &r.Err })
	for _, i := range strays {
		out[i].Err = errOtherKey
	}
	return out
}

// each runs f for 0..n-1, at most parallel at a time, and waits for all.
func each(n int, f func(i int)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			f(i)
		})
	}
	wg.Wait()
}
