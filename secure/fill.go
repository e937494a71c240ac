package secure

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/envelope"
	"github.com/cachekit-io/cachekit-go/l1"
)

// filling is the load of one key from before its read to after its write, with
// what tells whether a newer write has come between.
type filling struct {
	core   *core
	name   string
	ttl    time.Duration
	watch  *watch
	ticket l1.Ticket
	refs   atomic.Int32
	// outage: the backend could not be reached. unread: the read failed.
	outage, unread bool
	// index and held are its place in a load of several keys and its lock there.
	index int
	held  backends.HeldLock
	// base is the entry that a refresh replaces; zero if the load fills a gap.
	base envelope.Sealed
}

// startFill is called before the backend is read; the caller calls release.
func (c *core) startFill(name string, ttl time.Duration) *filling {
	f := &filling{core: c, name: name, ttl: ttl, watch: c.order.watch(name)}
	f.refs.Store(1)
	if c.l1 != nil {
		f.ticket = c.l1.Watch(name)
	}
	return f
}

// retain keeps the watch until one more call of release.
func (f *filling) retain() { f.refs.Add(1) }

func (f *filling) release() {
	if f.refs.Add(-1) == 0 {
		f.watch.done()
	}
}

// afterOutage bounds a write whose read found the backend unreachable: whoever
// waits for the value has waited for the backend once.
const afterOutage = time.Second

// writing returns the context of the write.
func writing(ctx context.Context, outage bool) (context.Context, context.CancelFunc) {
	if outage {
		return context.WithTimeout(ctx, afterOutage)
	}
	return ctx, func() {}
}

// run calls the loader and stores what it returned, unless an explicit write
// came between. A store that fails does not take the value from the caller.
func (f *filling) run(ctx context.Context, load produce) (loaded, error) {
	c := f.core
	value, err := observed(ctx, c, f.name, 1, load)
	if err != nil {
		if errors.Is(err, ErrAbsent) {
			f.absent()
		}
		return loaded{}, err
	}
	out, sealed, err := f.result(time.Now(), value)
	if !sealed.IsZero() && f.watch.begin() {
		defer f.watch.end()
		ctx, cancel := writing(ctx, f.outage)
		defer cancel()
		c.absorbed(ctx, "store", f.name, f.put(ctx, sealed))
	}
	out.ran = true
	return out, err
}

// put stores what was loaded. A refresh writes over nothing but the entry it
// started from, where the storage can do that in one step: an entry that another
// process has written since stays, and no copy is kept.
func (f *filling) put(ctx context.Context, sealed envelope.Sealed) error {
	c := f.core
	if f.base.IsZero() || !c.store.CanReplace() {
		return c.put(ctx, sealed, f.ttl)
	}
	err := c.putOver(ctx, sealed, f.ttl, f.base)
	switch {
	case errors.Is(err, errSuperseded):
		return nil
	case errors.Is(classify(err), ErrBackend): // its user may not run scripts, say
		return c.put(ctx, sealed, f.ttl)
	}
	return err
}

// absent remembers that there is no value.
func (f *filling) absent() {
	if f.core.l1 != nil {
		f.core.l1.Fill(f.ticket, f.name, local{kind: localAbsent}, l1.Life{TTL: f.core.negativeTTL})
	}
}

// result turns a loader's value into what waiters get, and into the entry to
// store in the backend, if there is one.
func (f *filling) result(now time.Time, value any) (loaded, envelope.Sealed, error) {
	c := f.core
	if c.plaintext && c.l1Only {
		c.l1.Fill(f.ticket, f.name, local{object: value, kind: localObject}, c.lifeOfWrite(f.ttl))
		return loaded{object: value}, envelope.Sealed{}, nil
	}
	doc, err := c.encode(nil, value)
	if err != nil {
		return loaded{}, envelope.Sealed{}, err
	}
	sealed := c.sealDoc(now, f.name, doc)
	if c.store == nil {
		c.l1.Fill(f.ticket, f.name, local{sealed: sealed, kind: localSealed}, c.lifeOfWrite(f.ttl))
		sealed = envelope.Sealed{}
	}
	return loaded{doc: doc}, sealed, nil
}
