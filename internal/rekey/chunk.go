package rekey

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/envelope"
	"github.com/cachekit-io/cachekit-go/internal/store"
)

// attempts is how often an entry is replaced while somebody else keeps writing
// it under an old key.
const attempts = 3

// errNotBack is the failure of an entry that does not open after it was
// replaced.
var errNotBack = errors.New("rekey: the entry does not open under a key of the keyring after it was replaced")

// chunk is a number of entries that are read, and replaced, in one round trip.
type chunk struct {
	*worker
	report *Report
	first  bool
	tries  int
	// old are the entries under an old key, pairs what replaces them.
	old   []entry
	pairs []store.Pair
	// outage is an error after which the walk cannot go on.
	outage error
}

// read reads and counts entries and keeps those under an old key.
func (c *chunk) read(ctx context.Context, entries []entry) {
	c.old, c.pairs = nil, nil
	get := func(ctx context.Context, keys []string) iter.Seq2[int, store.GetResult] {
		return c.w.cfg.Store.GetMany(ctx, keys, false, nil)
	}
	if c.w.cfg.Ages && c.first {
		get = c.w.cfg.Store.GetEach
	}
	for i, r := range get(ctx, names(entries)) {
		e := entries[i]
		if c.first {
			c.report.Seen++
		}
		switch {
		case r.Err != nil:
			c.failed(e, r.Err)
		case r.Found:
			c.judge(e, r.Fetched)
		case c.first:
			c.report.Gone++
		default:
			c.report.Changed++
		}
	}
}

// rewrites says whether the storage can read and replace the chunk in one. It
// asks for no remaining TTLs.
func (c *chunk) rewrites() bool {
	return c.w.cfg.Reseal && !c.w.cfg.Ages && c.w.cfg.Store.CanRewrite()
}

// rewrite reads and counts entries, as read does, while the storage watches for
// other writers, and replaces those under an old key. It keeps those that the
// storage has left to replace: somebody has written one of them, perhaps.
func (c *chunk) rewrite(ctx context.Context, entries []entry) {
	c.old, c.pairs = nil, nil
	var at []int // of c.old in entries
	var stored func(int, envelope.Received, bool)
	if c.w.cfg.Verify {
		stored = func(i int, r envelope.Received, found bool) {
			if found {
				c.check(entries[i], r)
			}
		}
	}
	results := c.w.cfg.Store.RewriteMany(ctx, names(entries), func(i int, r envelope.Received) envelope.Sealed {
		c.judge(entries[i], store.Fetched{Received: r})
		if len(c.pairs) == len(at) {
			return envelope.Sealed{}
		}
		at = append(at, i)
		return c.pairs[len(c.pairs)-1].New
	}, stored)
	for i, r := range results {
		c.report.Seen++
		if r.Err != nil {
			c.failed(entries[i], r.Err)
		} else if !r.Found {
			c.report.Gone++
		}
	}
	c.worker.old = len(at) > 0
	c.rewritten(at, results)
}

// rewritten counts what was replaced and keeps what is left.
func (c *chunk) rewritten(at []int, results []backends.RewriteResult) {
	old, pairs := c.old, c.pairs
	c.old, c.pairs = nil, nil
	for j, i := range at {
		switch r := results[i]; {
		case r.Rewritten:
			c.report.Resealed++
		case r.Err == nil:
			c.old, c.pairs = append(c.old, old[j]), append(c.pairs, pairs[j])
		}
	}
}

// judge opens one entry.
func (c *chunk) judge(e entry, f store.Fetched) {
	c.report.Bytes += uint64(f.Received.Len())
	c.largest = max(c.largest, f.Received.Len())
	place, sealed, ok := c.open(e, f.Received)
	if !ok {
		c.report.Unauthenticated++
		c.report.look(Guess(f.Received), 1)
		c.w.failed(e.key, envelope.ErrAuth)
		return
	}
	if c.first {
		c.count(e, place, f.TTL)
	} else if place == 0 {
		c.report.Changed++
	}
	if place > 0 {
		c.keep(e, sealed)
	}
}

func (c *chunk) count(e entry, place int, ttl time.Duration) {
	c.report.count(KeyCount{Tenant: e.tenant.name, Fingerprint: e.tenant.prints[place], Place: place}, 1)
	if ttl != backends.NoExpiry {
		return
	}
	c.report.NoExpiry++
	if place > 0 {
		c.report.NoExpiryOld++
	}
}

// keep seals the document of an entry under an old key anew.
func (c *chunk) keep(e entry, old envelope.Sealed) {
	if !c.w.cfg.Reseal || c.tries > attempts {
		c.report.Left++
		return
	}
	c.old = append(c.old, e)
	c.pairs = append(c.pairs, store.Pair{Old: old, New: e.tenant.box.Seal(time.Now(), e.key, c.doc)})
}

// open leaves the document in c.doc and returns the place of the key that opened
// r.
func (c *chunk) open(e entry, r envelope.Received) (place int, sealed envelope.Sealed, ok bool) {
	doc, sealed, place, err := e.tenant.box.OpenAt(c.doc[:0], r)
	if err != nil {
		return 0, envelope.Sealed{}, false
	}
	c.doc = doc
	return place, sealed, true
}

// replace swaps what read has kept and returns the entries that somebody else
// has written meanwhile.
func (c *chunk) replace(ctx context.Context) (again []entry) {
	var swapped []entry
	for i, r := range c.w.cfg.Store.SwapMany(ctx, c.pairs) {
		switch {
		case r.Err != nil:
			c.failed(c.old[i], r.Err)
		case r.Swapped:
			swapped = append(swapped, c.old[i])
		default:
			again = append(again, c.old[i])
		}
	}
	c.report.Resealed += uint64(len(swapped))
	if c.w.cfg.Verify && len(swapped) > 0 {
		c.verify(ctx, swapped)
	}
	return again
}

// verify reads what was replaced. An entry that is gone by now is no failure.
func (c *chunk) verify(ctx context.Context, entries []entry) {
	for i, r := range c.w.cfg.Store.GetMany(ctx, names(entries), false, nil) {
		e := entries[i]
		switch {
		case r.Err != nil:
			c.failed(e, r.Err)
		case r.Found:
			c.check(e, r.Fetched.Received)
		}
	}
}

// check opens an entry that was replaced.
func (c *chunk) check(e entry, r envelope.Received) {
	if place, _, ok := c.open(e, r); !ok {
		c.failed(e, errNotBack)
	} else if place > 0 {
		c.report.Left++ // an old writer has come between
	}
}

// failed counts an entry that could not be read or replaced.
func (c *chunk) failed(e entry, err error) {
	c.report.Failed++
	c.w.failed(e.key, err)
	var backend *backends.Error
	if c.outage == nil && (backends.IsOutage(err) || errors.Is(err, backends.ErrClosed) ||
		errors.As(err, &backend) && backend.Kind == backends.Auth) {
		c.outage = err
	}
}

func names(entries []entry) []string {
	keys := make([]string, len(entries))
	for i, e := range entries {
		keys[i] = e.key
	}
	return keys
}
