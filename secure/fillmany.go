package secure

import (
	"context"
	"slices"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/envelope"
	"github.com/cachekit-io/cachekit-go/internal/flight"
	"github.com/cachekit-io/cachekit-go/internal/store"
	"github.com/cachekit-io/cachekit-go/l1"
)

// probes is how many locks of others a load of several keys tries between two
// looks at what they have stored. If it gets one, it tries all.
const probes = 16

// fillingMany is the shared load of several keys, that of each key in one process
// of all if they take its lock too. It never waits while it holds a lock, but for
// the loader, so that loads of overlapping keys do not wait for each other.
type fillingMany struct {
	core    *core
	load    func(ctx context.Context, names []string) (map[string]any, error)
	settle  func(i int, o flight.Outcome[loaded])
	pending []*filling // those without an outcome
}

// run settles every key, by rounds until fillWait is over. The error of a context
// that ends meanwhile is the outcome of what is left.
func (m *fillingMany) run(ctx context.Context) {
	if !m.core.locking(ctx) {
		m.call(ctx, m.pending)
		return
	}
	until, p := time.Now().Add(fillWait), pace{}
	for first := true; ; first = false {
		before := len(m.pending)
		m.round(ctx, first, until)
		if len(m.pending) == 0 {
			return
		}
		err := ctx.Err()
		if err == nil && len(m.pending) == before {
			err = p.wait(ctx)
		}
		if err != nil {
			for _, f := range m.pending {
				m.settle(f.index, flight.Outcome[loaded]{Err: err})
			}
			return
		}
	}
}

// round tries locks without waiting, takes what others have stored, and loads what
// it has the locks of: everything once the wait is over, and at once if locks fail.
func (m *fillingMany) round(ctx context.Context, first bool, until time.Time) {
	all := slices.Clone(m.pending)
	defer func() { m.release(ctx, all) }()
	locks := m.lease(ctx, first)
	if ctx.Err() != nil {
		return
	}
	if locks {
		m.read(ctx)
	}
	over := !locks || !time.Now().Before(until)
	m.call(ctx, m.cut(func(f *filling) bool { return over || f.unread || f.held != backends.HeldLock{} }))
}

// lease tries the locks of what was read: all in the first round, then a few in
// turn, and if one of them is free all again. It reports whether locks work.
func (m *fillingMany) lease(ctx context.Context, first bool) bool {
	ask := m.readable()
	n := len(ask)
	if n == 0 {
		return true
	}
	if !first && n > probes {
		n = probes
		m.pending = slices.Concat(ask[n:], ask[:n])
	}
	won, err := m.try(ctx, ask[:n])
	if won && err == nil && n < len(ask) {
		_, err = m.try(ctx, ask[n:])
	}
	if err != nil {
		m.pending[0].lockFailed(ctx, err)
	}
	return err == nil
}

// try takes the locks of fills that are free, if one is.
func (m *fillingMany) try(ctx context.Context, fills []*filling) (won bool, err error) {
	held, err := m.core.store.LeaseMany(ctx, namesOf(fills), fillLease)
	for i, f := range fills {
		f.held = held[i]
		won = won || f.held != backends.HeldLock{}
	}
	return won, err
}

// release gives locks back in the background.
func (m *fillingMany) release(ctx context.Context, fills []*filling) {
	var held []backends.HeldLock
	for _, f := range fills {
		if f.held != (backends.HeldLock{}) {
			held = append(held, f.held)
			f.held = backends.HeldLock{}
		}
	}
	if len(held) > 0 {
		m.core.releases.Go(func() { m.core.store.ReleaseMany(ctx, held) })
	}
}

// readable are the pending keys that the backend can be asked for.
func (m *fillingMany) readable() []*filling {
	return slices.DeleteFunc(slices.Clone(m.pending), func(f *filling) bool { return f.unread })
}

// read settles what is stored by now, by the rules of filling.lead.
func (m *fillingMany) read(ctx context.Context) {
	ask := m.readable()
	if len(ask) == 0 {
		return
	}
	names := namesOf(ask)
	tickets := m.core.watchAll(names)
	done := make(map[*filling]bool)
	for i, r := range m.core.store.GetMany(ctx, names, true, nil) {
		f := ask[i]
		out, found, err := f.received(r, tickets[i])
		f.unread = err != nil
		if err = f.mayLoad(ctx, err); found || err != nil {
			m.settle(f.index, flight.Outcome[loaded]{Value: out, Err: err})
			done[f] = true
		}
	}
	m.release(ctx, m.cut(func(f *filling) bool { return done[f] }))
}

// received is filling.reader for one result of a batch.
func (f *filling) received(r store.GetResult, ticket l1.Ticket) (out loaded, found bool, err error) {
	c := f.core
	if r.Err != nil || !r.Found {
		c.countMiss(r.Err)
		return loaded{}, false, r.Err
	}
	err = c.take(r.Fetched, ticket, f.ttl, out.open(c))
	return out, err == nil && (!out.stale || c.serveStale), err
}

// cut takes those that are chosen out of the pending ones.
func (m *fillingMany) cut(chosen func(*filling) bool) (out []*filling) {
	var rest []*filling
	for _, f := range m.pending {
		if chosen(f) {
			out = append(out, f)
			continue
		}
		rest = append(rest, f)
	}
	m.pending = rest
	return out
}

// call calls the loader for fills, if there are any, and settles them.
func (m *fillingMany) call(ctx context.Context, fills []*filling) {
	if len(fills) == 0 {
		return
	}
	outcomes := m.core.runMany(ctx, fills, func(ctx context.Context) (map[string]any, error) {
		return m.load(ctx, namesOf(fills))
	})
	for i, o := range outcomes {
		m.settle(fills[i].index, o)
	}
}

func namesOf(fills []*filling) []string {
	out := make([]string, len(fills))
	for i, f := range fills {
		out[i] = f.name
	}
	return out
}

// runMany calls the loader for several keys and stores what it returned, by the
// rules of filling.run.
func (c *core) runMany(ctx context.Context, fills []*filling, load func(context.Context) (map[string]any, error)) []flight.Outcome[loaded] {
	out := make([]flight.Outcome[loaded], len(fills))
	values, err := observed(ctx, c, "", len(fills), load)
	now := time.Now()
	var entries []envelope.Sealed
	for i, f := range fills {
		value, ok := values[f.name]
		switch {
		case err != nil:
			out[i].Err = err
		case !ok:
			out[i].Err = ErrAbsent
			f.absent()
		default:
			var sealed envelope.Sealed
			out[i].Value, sealed, out[i].Err = f.result(now, value)
			if !sealed.IsZero() && f.watch.begin() {
				defer f.watch.end()
				entries = append(entries, sealed)
			}
		}
	}
	if len(entries) > 0 {
		ctx, cancel := writing(ctx, slices.ContainsFunc(fills, func(f *filling) bool { return f.outage }))
		defer cancel()
		for i, err := range c.putMany(ctx, entries) {
			c.absorbed(ctx, "store", entries[i].Key(), err)
		}
	}
	return out
}
