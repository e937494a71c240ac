package redisbackend

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
)

// followEvery is how often a tracker asks a Cluster client for the masters. A
// master that takes over slots is unwatched for that long at most.
const followEvery = time.Second

// tracker keeps a connection with CLIENT TRACKING in broadcast mode to every
// server that holds keys, for all watches of a Backend.
type tracker struct {
	b      *Backend
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex // held while handlers run
	watches []*tracked
	links   map[string]*link // by address
}

// tracked is one watch.
type tracked struct {
	prefix  string
	handler backends.WatchHandler
	up      bool
}

// Watch implements [backends.Watcher] by CLIENT TRACKING in broadcast mode
// (Redis 6 or newer), on connections of its own: one to each server that holds
// keys, for all watches together. It needs the commands HELLO and CLIENT
// TRACKING, and a server or proxy that speaks RESP3. The client's settings for
// dialling, TLS and authentication apply, except StreamingCredentialsProvider,
// with which Watch returns an error.
//
// Each connection is asked twice a second whether its server is alive and still
// a master. The answer comes in line with the reports, so when it is 1.5 s late
// the watch is down, whether the network, the server or this process is at fault.
// Health has the detail "tracking": "up", or "down" and why.
//
// Set and Delete with a context of [backends.WrittenBy] travel over these
// connections too, up to 64 KiB of value each: many share one, none waits for the
// answer to another, and go-redis's hooks and limiter do not see them. Redis
// reports such a write to every other process, this backend to its other watches,
// and nobody to the watch that it was made for, unless somebody else has written
// the key after it in the same turn of the server's event loop. All other writes
// of this backend are reported. If such a write is given up and its answer does
// not come within 50 ms, the connection is reset and the watches are down until it
// stands again; for 5 s writes take the pool then. A caller who writes alone reads
// what arrives himself, so handlers may run within such a call: it must not hold a
// lock that they take.
//
// A master that a Cluster has newly given slots to is noticed within a second, and
// so is that Sentinels have named another master; then everything counts as
// changed.
func (b *Backend) Watch(prefix string, handler backends.WatchHandler) (stop func(), err error) {
	b.tracking.Lock()
	defer b.tracking.Unlock()
	if b.closed.Load() {
		return nil, backends.ErrClosed
	}
	if c, ok := b.client.(*redis.Client); ok && c.Options().StreamingCredentialsProvider != nil {
		return nil, &ClientError{"a StreamingCredentialsProvider cannot authenticate the connections of Watch"}
	}
	if b.tracker == nil {
		b.tracker = newTracker(b)
	}
	t, w := b.tracker, &tracked{prefix: prefix, handler: handler}
	t.add(w)
	return func() { b.unwatch(t, w) }, nil
}

// unwatch ends w, and the tracker with the last of its watches.
func (b *Backend) unwatch(t *tracker, w *tracked) {
	b.tracking.Lock()
	defer b.tracking.Unlock()
	if t.remove(w) == 0 && b.tracker == t {
		b.tracker = nil
		t.end()
	}
}

// endTracking is called once the backend is closed.
func (b *Backend) endTracking() {
	b.tracking.Lock()
	defer b.tracking.Unlock()
	if b.tracker != nil {
		b.tracker.end()
		b.tracker = nil
	}
}

func newTracker(b *Backend) *tracker {
	t := &tracker{b: b, links: map[string]*link{}}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	if c, ok := b.client.(*redis.Client); ok {
		t.adopt(map[string]*redis.Client{"": c})
		if c.Options().Addr == failoverAddr {
			t.wg.Go(t.followMaster)
		}
	} else {
		t.wg.Go(t.follow)
	}
	return t
}

// end waits for the goroutines of the tracker.
func (t *tracker) end() {
	t.cancel()
	t.wg.Wait()
	t.b.routes.Store(nil)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watches = nil
}

func (t *tracker) add(w *tracked) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watches = append(t.watches, w)
	for _, l := range t.links {
		l.wake()
	}
	t.settle()
}

// remove leaves what the servers have been asked for as it is: reports that
// nobody wants are dropped.
func (t *tracker) remove(w *tracked) (left int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watches = slices.DeleteFunc(t.watches, func(v *tracked) bool { return v == w })
	return len(t.watches)
}

// follow keeps up with the servers of a Cluster or Ring.
func (t *tracker) follow() {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for warm := false; ; {
		warm = warm || t.warm()
		if nodes, err := do(t.ctx, t.b, "watch", t.b.masters); err == nil && warm {
			t.adopt(nodes)
		}
		select {
		case <-tick.C:
		case <-t.ctx.Done():
			return
		}
	}
}

// failoverAddr is what go-redis calls the server of a client that asks Sentinels
// for it (NewFailoverClient).
const failoverAddr = "FailoverClient"

// warm makes a call over the pool: at its first one a Cluster client asks a server
// what commands there are, for up to 5 s whatever the context is. Without it, that
// could be a read in a stall, after writes over links alone.
func (t *tracker) warm() bool {
	_, err := do(t.ctx, t.b, "watch", func(ctx context.Context) (int64, error) { return t.b.integer(ctx, "tracking", "exists", "tracking") })
	var answer *ServerError
	return err == nil || errors.As(err, &answer)
}

// followMaster ends the link to a server that the Sentinels have replaced. Until
// it is told, such a server takes itself for the master. The client's dialler asks
// the Sentinels, so where it leads is where the master is.
func (t *tracker) followMaster() {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-t.ctx.Done():
			return
		}
		l := (*t.b.routes.Load())[""]
		s := l.lane.Load()
		if s == nil {
			continue
		}
		if c, err := dial(l.ctx, l.opts); err == nil {
			if c.RemoteAddr().String() != s.conn.RemoteAddr().String() {
				s.end(errMoved)
			}
			_ = c.Close()
		}
	}
}

// masters returns a client of each server that holds keys, by its address. Their
// settings are what a link needs; no command is sent through them.
func (b *Backend) masters(ctx context.Context) (map[string]*redis.Client, error) {
	var mu sync.Mutex
	all := map[string]*redis.Client{}
	collect := func(_ context.Context, c *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		all[c.Options().Addr] = c
		return nil
	}
	if c, ok := b.client.(*redis.ClusterClient); ok {
		return all, c.ForEachMaster(ctx, collect)
	}
	return all, b.client.(*redis.Ring).ForEachShard(ctx, collect)
}

// adopt makes nodes the servers that are tracked.
func (t *tracker) adopt(nodes map[string]*redis.Client) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for addr, l := range t.links {
		if nodes[addr] == nil {
			l.cancel()
			delete(t.links, addr)
		}
	}
	for addr, client := range nodes {
		if t.links[addr] == nil {
			t.links[addr] = newLink(t, client)
		}
	}
	routes := maps.Clone(t.links)
	t.b.routes.Store(&routes)
	t.settle()
}

// settle tells the watches that have come up or gone down. It and what follows
// are called with the tracker locked.
func (t *tracker) settle() {
	for _, w := range t.watches {
		up := len(t.links) > 0 && t.ctx.Err() == nil
		for _, l := range t.links {
			up = up && l.covers(w.prefix)
		}
		switch {
		case up && !w.up:
			w.handler.Up()
		case !up && w.up:
			w.handler.Down()
		}
		w.up = up
	}
}

// wanted returns the fewest prefixes that cover all watches: Redis refuses one
// that overlaps another (CLIENT TRACKING, "BCAST").
func (t *tracker) wanted() (prefixes []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []string
	for _, w := range t.watches {
		all = append(all, w.prefix)
	}
	slices.Sort(all)
	for _, p := range all {
		if n := len(prefixes); n == 0 || !strings.HasPrefix(p, prefixes[n-1]) {
			prefixes = append(prefixes, p)
		}
	}
	return prefixes
}

// changed passes on a report of l.
func (t *tracker) changed(l *link, keys []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.watches {
		if !w.up || l.gone() {
			continue
		}
		if mine := under(w.prefix, keys); len(mine) > 0 {
			w.handler.Changed(mine)
		}
	}
}

// under returns those of keys that begin with prefix: keys itself, mostly.
func under(prefix string, keys []string) []string {
	other := func(key string) bool { return !strings.HasPrefix(key, prefix) }
	if !slices.ContainsFunc(keys, other) {
		return keys
	}
	return slices.DeleteFunc(slices.Clone(keys), other)
}

// flushed passes on that a server has dropped all keys.
func (t *tracker) flushed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.watches {
		if w.up {
			w.handler.Flush()
		}
	}
}

// state is the detail of Health: "" if nothing is watched.
func (b *Backend) trackingState() string {
	b.tracking.Lock()
	t := b.tracker
	b.tracking.Unlock()
	if t == nil {
		return ""
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.links) == 0 {
		return "down: the servers are not known yet"
	}
	for _, l := range t.links {
		if !l.live {
			return "down: " + l.why
		}
	}
	return "up"
}
