package secure

import (
	"math/rand/v2"
	"reflect"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/envelope"
	"github.com/cachekit-io/cachekit-go/internal/store"
	"github.com/cachekit-io/cachekit-go/l1"
)

// unknownTTLCopy bounds a copy whose remaining life the backend cannot tell.
const unknownTTLCopy = 5 * time.Second

// local is what the in-process layer holds: a sealed entry, or the memory that
// there is no value, or (with Plaintext and L1Only) the Go value itself.
type local struct {
	sealed envelope.Sealed
	object any
	kind   localKind
}

type localKind uint8

const (
	localSealed localKind = iota + 1
	localAbsent
	localObject
)

// localSize is what an entry weighs beside its key.
func localSize(_ string, v local) int {
	if v.kind == localObject {
		return newSizer().size(reflect.ValueOf(v.object))
	}
	return v.sealed.Len()
}

// hit is what the in-process layer had to say.
type hit uint8

const (
	hitNone hit = iota
	hitFresh
	hitStale
	hitAbsent
)

// lookup reads name from the in-process layer into dst. A copy that does not
// open is dropped and counts as none.
func (c *core) lookup(name string, dst any) (hit, error) {
	if c.l1 == nil {
		return hitNone, nil
	}
	v, stale := c.l1.Get(name)
	if v == nil {
		return hitNone, nil
	}
	switch v.kind {
	case localAbsent:
		return hitAbsent, nil
	case localObject:
		if err := assign(dst, v.object); err != nil {
			return hitNone, err
		}
	default:
		opened, err := c.reopen(v.sealed, dst)
		if !opened {
			c.l1.Invalidate(name)
			return hitNone, nil
		}
		if err != nil {
			return hitNone, err
		}
	}
	if stale {
		return hitStale, nil
	}
	return hitFresh, nil
}

// lifeOfWrite is the life of the copy of an entry that was written with ttl.
func (c *core) lifeOfWrite(ttl time.Duration) l1.Life {
	life := l1.Life{TTL: ttl}
	if c.store != nil {
		life.TTL = min(ttl, c.ttl)
	}
	if c.swr && ttl != NoExpiry {
		life.Fresh = min(freshFor(ttl), life.TTL)
	}
	return life
}

// lifeOfRead is the life of the copy made of a read of an entry that was
// written with ttl; ok is false if there must be none.
func (c *core) lifeOfRead(f store.Fetched, ttl time.Duration) (life l1.Life, ok bool) {
	if f.Stale || f.Bounded && f.FreshFor <= 0 {
		return l1.Life{}, false
	}
	left := f.Left()
	if left == 0 {
		life.TTL = min(unknownTTLCopy, c.l1BackfillTTL, c.ttl)
	} else {
		life.TTL = min(left, c.l1BackfillTTL, c.ttl)
	}
	if f.Bounded {
		life.TTL = min(life.TTL, f.FreshFor)
	}
	if c.swr && left != 0 && left != NoExpiry && ttl != NoExpiry {
		// What is left of the fresh half of the entry's own life; past it, the
		// copy is stale from the start and the next load refreshes it.
		life.Fresh = min(max(left-ttl+freshFor(ttl), 1), life.TTL)
	}
	return life, true
}

// freshFor is half of ttl, give or take a tenth of that, drawn once per entry
// so that entries written together are not refreshed together.
func freshFor(ttl time.Duration) time.Duration {
	half := float64(ttl / 2)
	return time.Duration(half * (0.9 + 0.2*rand.Float64()))
}
