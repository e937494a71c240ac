package secure

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/cachekit-io/cachekit-go/backends/resilient"
	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/l1"
)

// counters are what a cache counts itself.
type counters struct {
	backendHits, misses, sets, deletes             atomic.Uint64
	loads, loadFailures, refreshFailures, absorbed atomic.Uint64
	authFailures, reloads, reloadFailures          atomic.Uint64
}

// Stats is a snapshot of what a cache has done since it was built, its
// namespaces, views and operations included. It is plain data and JSON shows it
// whole, so that the standard library can publish it:
//
//	expvar.Publish("cache", expvar.Func(func() any { return cache.Stats() }))
type Stats struct {
	// L1 counts the in-process layer; zero with Options.NoL1.
	L1 l1.Stats
	// BackendHits and Misses are reads that reached the backend and found an
	// entry, or none. Reads that failed are neither.
	BackendHits, Misses uint64
	// Sets and Deletes are explicit writes and stored loads, failed ones too.
	Sets, Deletes uint64
	// Loads are loaders that were started, LoadFailures those that returned an
	// error or did not return, RefreshFailures background refreshes that failed.
	Loads, LoadFailures, RefreshFailures uint64
	// Absorbed are backend failures that a load went on without.
	Absorbed uint64
	// Reliability is the state of the circuit, retries and refused calls; its
	// State is 0 with Options.Reliability Off.
	Reliability resilient.Stats
	// Coherence counts the reports of changes by other processes.
	Coherence CoherenceStats
	// AuthFailures are entries that failed authentication. Alert on any.
	AuthFailures uint64
	// Seals are entries sealed by this cache under the key that is current now.
	// Rotate the
	// key before all processes together reach 2^32.
	Seals uint64
	// KeyringReloads are changed keyrings that were taken over from
	// Options.Keyring, KeyringFailures the times that it could not be read. A
	// count that grows means that this process may miss the next rotation.
	KeyringReloads, KeyringFailures uint64
	// Keys has the reads that each key of the keyring served, current key
	// first; in-process hits count as well, and a key keeps its count when the
	// keyring changes around it. A decrypt-only key whose count
	// stands still in every process for longer than the longest TTL can be
	// dropped.
	Keys []KeyStats
}

// KeyStats counts the use of one key.
type KeyStats struct {
	// Fingerprint identifies the tenant's encryption key.
	Fingerprint keys.Fingerprint
	// Opened is the number of entries that opened under it.
	Opened uint64
}

// Stats returns a snapshot.
func (c *Cache) Stats() Stats {
	k := c.core
	box := k.keys.Load().box
	s := Stats{
		BackendHits: k.counts.backendHits.Load(), Misses: k.counts.misses.Load(),
		Sets: k.counts.sets.Load(), Deletes: k.counts.deletes.Load(),
		Loads: k.counts.loads.Load(), LoadFailures: k.counts.loadFailures.Load(),
		RefreshFailures: k.counts.refreshFailures.Load(), Absorbed: k.counts.absorbed.Load(),
		AuthFailures: k.counts.authFailures.Load(), Seals: box.Seals(),
		KeyringReloads: k.counts.reloads.Load(), KeyringFailures: k.counts.reloadFailures.Load(),
	}
	s.Coherence = k.coherence.stats()
	if k.l1 != nil {
		s.L1 = k.l1.Stats()
	}
	if k.resilient != nil {
		s.Reliability = k.resilient.Stats()
	}
	for _, u := range box.Use() {
		s.Keys = append(s.Keys, KeyStats(u))
	}
	return s
}

// countMiss counts a read that found nothing and did not fail.
func (c *core) countMiss(err error) {
	if err == nil {
		c.counts.misses.Add(1)
	}
}

// loadError returns a loader's own error as it is, so that callers can compare
// it, and wraps what comes from the cache.
func (c *core) loadError(ctx context.Context, name string, err error) error {
	class := classify(err)
	for _, known := range []error{ErrAuth, ErrMalformed, ErrType, ErrTooLarge, ErrTTL, ErrKey, ErrClosed} {
		if errors.Is(class, known) {
			return c.fail(ctx, "load", name, err)
		}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return c.fail(ctx, "load", name, err)
	}
	return err
}
