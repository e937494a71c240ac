package secure

import (
	"context"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

// maxWatches is how many namespaces a cache watches one by one; with more it
// watches all keys, because a server compares every write with every prefix.
const maxWatches = 64

// coherence keeps the in-process layer in step with writes of other processes,
// as the backend reports them. A copy is made only of a key whose namespace is
// watched at that moment, so the layer is empty while the watcher is down, and a
// hit costs nothing.
type coherence struct {
	core *core

	mu      sync.Mutex
	stops   map[string]func() // by prefix
	ended   bool
	watched atomic.Pointer[map[string]*watcher] // those that are up, by prefix; never changed in place

	invalidations, flushes, outages atomic.Uint64

	state    sync.Mutex // of what follows, and of changes of watched
	down     int        // watches that are down
	since    time.Time  // when the first of them went down
	downtime time.Duration

	telling sync.Mutex
	untold  []transition
	busy    bool // somebody tells
	teller  sync.WaitGroup
}

// transition is what is told of a watch.
type transition struct {
	level slog.Level
	kind  string
	text  string
}

var (
	wentUp   = transition{slog.LevelInfo, "coherence_up", "changes by other processes are reported"}
	wentDown = transition{slog.LevelWarn, "coherence_down", "changes by other processes are not reported, nothing is copied to the in-process layer"}
	flushed  = transition{slog.LevelInfo, "coherence_flush", "any entry may have changed, the in-process layer was emptied"}
)

// maxUntold bounds what waits for an observer or logger that blocks; the oldest
// goes.
const maxUntold = 64

// tell logs t and tells the observer, in order, and not in the goroutine of the
// watcher, which holds locks.
func (h *coherence) tell(t transition) {
	h.telling.Lock()
	defer h.telling.Unlock()
	if h.untold = append(h.untold, t); len(h.untold) > maxUntold {
		h.untold = h.untold[1:]
	}
	if !h.busy {
		h.busy = true
		h.teller.Go(h.tellAll)
	}
}

func (h *coherence) tellAll() {
	h.telling.Lock()
	defer h.telling.Unlock()
	for len(h.untold) > 0 {
		t := h.untold[0]
		h.untold = h.untold[1:]
		h.telling.Unlock()
		h.core.note(context.Background(), t.level, Event{Kind: t.kind}, "", t.text)
		h.telling.Lock()
	}
	h.busy = false
}

// CoherenceStats counts what Options.Coherence has done. Everything is 0
// without it.
type CoherenceStats struct {
	// Up is true if changes by others are reported, for every namespace that is
	// in use. While it is false, nothing is copied to the in-process layer.
	Up bool
	// Invalidations are keys that were reported as changed, some that this cache
	// wrote itself included; Flushes how often the layer was emptied because
	// changes may have been missed, Outages how often reports ceased.
	Invalidations, Flushes, Outages uint64
	// Down is for how long in all reports have been missing, from the start on.
	Down time.Duration
}

func newCoherence(c *core) *coherence {
	h := &coherence{core: c, stops: map[string]func(){}}
	h.watched.Store(&map[string]*watcher{})
	return h
}

// admits reports whether a copy of name may be made. The layer asks with a lock
// held under which Flush and Void move the generation too.
func (h *coherence) admits(name string) bool { return h.watcher(name) != nil }

// watcher returns what is told of changes of name, or nil.
func (h *coherence) watcher(name string) *watcher {
	up := *h.watched.Load()
	if w := up[""]; w != nil {
		return w
	}
	namespace, _, ok := strings.Cut(name, ":")
	if !ok {
		return nil
	}
	return up[namespace+":"]
}

// writing returns the context of a write of name, of which the layer knows by
// Begin: it need not be reported back.
func (h *coherence) writing(ctx context.Context, name string) context.Context {
	if h == nil {
		return ctx
	}
	if w := h.watcher(name); w != nil {
		return backends.WrittenBy(ctx, w)
	}
	return ctx
}

// watch starts to watch the keys that begin with prefix, unless they are watched
// already. A nil coherence watches nothing.
func (h *coherence) watch(prefix string) error {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.stops) >= maxWatches {
		prefix = ""
	}
	if h.ended || h.stops[prefix] != nil || h.stops[""] != nil {
		return nil
	}
	w := &watcher{h: h, prefix: prefix}
	w.count(+1)
	stop, err := h.core.store.Watch(prefix, w)
	if err != nil {
		w.count(-1)
		return err
	}
	h.stops[prefix] = stop
	return nil
}

// end stops all watches.
func (h *coherence) end() {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	for _, stop := range h.stops {
		stop()
	}
	h.teller.Wait()
}

func (h *coherence) stats() CoherenceStats {
	if h == nil {
		return CoherenceStats{}
	}
	h.state.Lock()
	defer h.state.Unlock()
	s := CoherenceStats{
		Up: h.down == 0, Down: h.downtime,
		Invalidations: h.invalidations.Load(), Flushes: h.flushes.Load(), Outages: h.outages.Load(),
	}
	if h.down > 0 {
		s.Down += time.Since(h.since)
	}
	return s
}

// set changes what is watched.
func (w *watcher) set(up bool) {
	w.h.state.Lock()
	defer w.h.state.Unlock()
	next := maps.Clone(*w.h.watched.Load())
	delete(next, w.prefix)
	if up {
		next[w.prefix] = w
	}
	w.h.watched.Store(&next)
}

// count moves the number of watches that are down, and how long there has been
// one.
func (w *watcher) count(n int) {
	h := w.h
	h.state.Lock()
	defer h.state.Unlock()
	if h.down == 0 {
		h.since = time.Now()
	}
	if h.down += n; h.down == 0 {
		h.downtime += time.Since(h.since)
	}
}

// watcher is the handler of one watch.
type watcher struct {
	h      *coherence
	prefix string
}

// Up implements [backends.WatchHandler]. Reads that were sent before must not be
// copied any more when the layer begins to admit.
func (w *watcher) Up() {
	w.h.core.l1.Void()
	w.h.core.flights.ForgetAll()
	w.set(true)
	w.count(-1)
	w.h.tell(wentUp)
}

// Down implements [backends.WatchHandler]. What a fill stores after the flush has
// been admitted before it, and then it has a ticket that the flush made void.
func (w *watcher) Down() {
	w.set(false)
	w.h.core.l1.Flush()
	w.h.core.flights.ForgetAll()
	w.h.outages.Add(1)
	w.h.flushes.Add(1)
	w.count(+1)
	w.h.tell(wentDown)
}

// Changed implements [backends.WatchHandler].
func (w *watcher) Changed(keys []string) {
	w.h.invalidations.Add(uint64(len(keys)))
	for _, key := range keys {
		w.h.core.l1.Invalidate(key)
		w.h.core.flights.Forget(key)
	}
}

// Flush implements [backends.WatchHandler].
func (w *watcher) Flush() {
	w.h.flushes.Add(1)
	w.h.core.l1.Flush()
	w.h.core.flights.ForgetAll()
	w.h.tell(flushed)
}

// checkCoherence refuses options that contradict each other.
func checkCoherence(o *Options) error {
	switch {
	case o.Coherence > Off:
		return misconfigured("Options.Coherence is neither On nor Off")
	case o.Coherence == On && (o.NoL1 || o.L1Only):
		return misconfigured("Options.Coherence keeps the in-process layer in step with the backend: it does nothing with Options.NoL1 or L1Only")
	}
	return nil
}

// cohere starts to watch the cache's own namespace.
func (c *core) cohere(prefix string) error {
	if c.coherence == nil {
		return nil
	}
	if !c.store.CanWatch() {
		return misconfigured("Options.Coherence needs a backend that reports changes (a backends.Watcher, such as Redis)")
	}
	if err := c.coherence.watch(prefix); err != nil {
		return misconfigured("Options.Coherence: %w", err)
	}
	return nil
}
