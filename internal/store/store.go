package store

import (
	"context"
	"errors"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/envelope"
)

// Store is a backend seen through sealed entries. It is safe for concurrent use.
type Store struct {
	backend backends.Backend
	caps    backends.Caps
	rules   backends.KeyRules
	hook    Hook
}

// New returns a store over b. It does not close b unless Close is called.
func New(b backends.Backend) *Store {
	s := &Store{backend: b, caps: backends.CapabilitiesOf(b)}
	if s.caps.KeyRuler != nil {
		s.rules = s.caps.KeyRuler.KeyRules()
	}
	return s
}

// CheckKey refuses a storage key that the family or the backend cannot hold.
func (s *Store) CheckKey(key string) error { return s.rules.Check(key) }

// Fetched is an entry as it was read, with what the storage said of its age.
type Fetched struct {
	Received envelope.Received
	// TTL is the time left: positive, backends.NoExpiry, or 0 if unknown.
	TTL time.Duration
	// Stale, Bounded and FreshFor are those of backends.Entry.
	Stale    bool
	Bounded  bool
	FreshFor time.Duration
}

// Left is how long the entry lives or stays fresh at least, NoExpiry included, or
// 0 if the storage told neither.
func (f Fetched) Left() time.Duration {
	if f.TTL == 0 && f.Bounded && !f.Stale {
		return f.FreshFor
	}
	return f.TTL
}

func fetched(key string, e backends.Entry) Fetched {
	return Fetched{envelope.Receive(key, e.Value), e.TTL, e.Stale, e.Bounded, e.FreshFor}
}

// Get reads the entry of key; found is false on a miss. withAge asks for its
// remaining TTL too, where the storage can tell.
func (s *Store) Get(ctx context.Context, key string, withAge bool) (f Fetched, found bool, err error) {
	ctx, call := s.begin(ctx, "get", key, 1)
	err = errPanicked
	defer func() { call.one(found, err) }()
	var e backends.Entry
	if withAge && s.caps.EntryReader != nil {
		e, err = s.caps.EntryReader.GetEntry(ctx, key)
	} else {
		e.Value, err = s.backend.Get(ctx, key)
	}
	if err != nil {
		return Fetched{}, false, missIsNil(err)
	}
	return fetched(key, e), true, nil
}

func missIsNil(err error) error {
	if errors.Is(err, backends.ErrNotFound) {
		return nil
	}
	return err
}

// Put writes a sealed entry under the key it was sealed for.
func (s *Store) Put(ctx context.Context, e envelope.Sealed, ttl time.Duration) (err error) {
	if e.IsZero() {
		return envelope.ErrZero
	}
	ctx, call := s.begin(ctx, "set", e.Key(), 1)
	err = errPanicked
	defer func() { call.one(false, err) }()
	return s.backend.Set(ctx, e.Key(), e.Bytes(), ttl)
}

// CanScan reports whether the storage can enumerate its keys.
func (s *Store) CanScan() bool { return s.caps.Scanner != nil }

// Scan returns one page of the storage keys that begin with prefix, and the
// cursor of the next page, as backends.Scanner says. The storage must be able
// to scan.
func (s *Store) Scan(ctx context.Context, prefix, cursor string, limit int) (keys []string, next string, err error) {
	return s.caps.Scanner.Scan(ctx, prefix, cursor, limit)
}

// CanSwap reports whether the storage can compare and swap.
func (s *Store) CanSwap() bool { return s.caps.Swapper != nil }

// Swap replaces old, as it was read, with new, sealed for the same key, if the
// storage still holds old. The remaining TTL is kept. The storage must be able
// to swap.
func (s *Store) Swap(ctx context.Context, old, new envelope.Sealed) (swapped bool, err error) {
	if err := swappable(old, new); err != nil {
		return false, err
	}
	return s.caps.Swapper.Swap(ctx, new.Key(), old.Bytes(), new.Bytes())
}

// CanReplace reports whether the storage can swap entries and give them a new TTL
// in one step.
func (s *Store) CanReplace() bool { return s.caps.Replacer != nil }

// Replace is Swap with a new TTL. The storage must be able to.
func (s *Store) Replace(ctx context.Context, old, new envelope.Sealed, ttl time.Duration) (replaced bool, err error) {
	if err := swappable(old, new); err != nil {
		return false, err
	}
	return s.caps.Replacer.Replace(ctx, new.Key(), old.Bytes(), new.Bytes(), ttl)
}

// errOtherKey refuses to swap an entry for one that belongs elsewhere.
var errOtherKey = errors.New("store: the entries to swap are of different keys")

func swappable(old, new envelope.Sealed) error {
	switch {
	case old.IsZero() || new.IsZero():
		return envelope.ErrZero
	case old.Key() != new.Key():
		return errOtherKey
	}
	return nil
}

// Delete removes the entry of key and reports whether there was one.
func (s *Store) Delete(ctx context.Context, key string) (existed bool, err error) {
	ctx, call := s.begin(ctx, "delete", key, 1)
	err = errPanicked
	defer func() { call.one(existed, err) }()
	return s.backend.Delete(ctx, key)
}

// Exists reports whether there is an entry under key, without reading it.
func (s *Store) Exists(ctx context.Context, key string) (found bool, err error) {
	ctx, call := s.begin(ctx, "exists", key, 1)
	err = errPanicked
	defer func() { call.one(found, err) }()
	return s.backend.Exists(ctx, key)
}

// Meter has the backend report counters, if it wants any, until stop is called.
func (s *Store) Meter(source func() backends.Counters) (stop func()) {
	if s.caps.Metered == nil {
		return func() {}
	}
	return s.caps.Metered.Meter(source)
}

// Health asks the backend how it is.
func (s *Store) Health(ctx context.Context) backends.Health { return s.backend.Health(ctx) }

// Close closes the backend.
func (s *Store) Close() error { return s.backend.Close() }
