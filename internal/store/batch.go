package store

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
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
// one result for each key, in order.
func (s *Store) GetMany(ctx context.Context, keys []string, withAge bool) []GetResult {
	out := make([]GetResult, len(keys))
	if s.caps.Batcher == nil {
		each(len(keys), func(i int) {
			r := &out[i]
			r.Fetched, r.Found, r.Err = s.Get(ctx, keys[i], withAge)
		})
		return out
	}
	ctx, call := s.begin(ctx, "get many", "", len(keys))
	defer call.many(len(out), func(i int) (bool, error) { return out[i].Found, out[i].Err })
	for i, r := range s.caps.Batcher.GetMany(ctx, keys) {
		if r.Err != nil {
			out[i].Err = missIsNil(r.Err)
			continue
		}
		out[i] = GetResult{Fetched: fetched(keys[i], r.Entry), Found: true}
	}
	return out
}

// GetEach is GetMany with the age of every entry, where the storage can tell it:
// a call for each key.
func (s *Store) GetEach(ctx context.Context, keys []string) []GetResult {
	out := make([]GetResult, len(keys))
	each(len(keys), func(i int) {
		r := &out[i]
		r.Fetched, r.Found, r.Err = s.Get(ctx, keys[i], true)
	})
	return out
}

// PutMany writes many entries. There is one error for each, in order.
func (s *Store) PutMany(ctx context.Context, entries []envelope.Sealed, ttl time.Duration) []error {
	out := make([]error, len(entries))
	if s.caps.Batcher == nil {
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
	out = s.caps.Batcher.SetMany(ctx, items)
	call.many(len(out), func(i int) (bool, error) { return false, out[i] })
	return out
}

// DeleteMany removes many entries. There is one result for each, in order.
func (s *Store) DeleteMany(ctx context.Context, keys []string) []backends.DeleteResult {
	if s.caps.Batcher != nil {
		ctx, call := s.begin(ctx, "delete many", "", len(keys))
		out := s.caps.Batcher.DeleteMany(ctx, keys)
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
	return s.caps.BatchSwapper.SwapMany(ctx, items)
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
