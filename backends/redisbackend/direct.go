package redisbackend

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/mono"
)

// directRest is how long go-redis serves all calls after a server would not talk
// to a connection of this package as to one of go-redis.
const directRest = time.Minute

// directLinger is how long a connection is still made for a call that has ended: if
// it ended with each, calls that are shorter than a handshake would never find one.
const directLinger = time.Second

// directs are the connections beside go-redis's, for the commands that are the
// traffic of a cache, of a client that Open made. go-redis costs a command 8 µs of
// CPU time where the two system calls take 15; what those commands need of it is a
// pool, and a parser for strings and numbers. Everything else, and everything that a
// server answers otherwise than with them, is left to go-redis: whatever a Cluster
// redirects, and calls that find no connection free.
type directs struct {
	b      *Backend
	single *direct  // of the one server
	nodes  sync.Map // address to *direct, of a Cluster
}

// newDirects returns nil for a client that knows better who shall serve a call.
func newDirects(b *Backend) *directs {
	d := &directs{b: b}
	switch c := b.client.(type) {
	case *redis.Client:
		if c.Options().Addr == failoverAddr {
			return nil
		}
		d.single = newDirect(b, c)
	case *redis.ClusterClient:
		if o := c.Options(); o.ReadOnly || o.RouteByLatency || o.RouteRandomly {
			return nil
		}
	default:
		return nil
	}
	return d
}

// to returns the connections to the server that has key.
func (d *directs) to(ctx context.Context, key string) *direct {
	if d == nil || d.single != nil {
		return d.one()
	}
	node, err := d.b.client.(*redis.ClusterClient).MasterForKey(ctx, key)
	if err != nil {
		return nil
	}
	addr := node.Options().Addr
	if p, ok := d.nodes.Load(addr); ok {
		return p.(*direct)
	}
	p, _ := d.nodes.LoadOrStore(addr, newDirect(d.b, node))
	return p.(*direct)
}

// one returns the connections to the only server, or nil if there are several.
func (d *directs) one() *direct {
	if d == nil {
		return nil
	}
	return d.single
}

// all calls f for each server.
func (d *directs) all(f func(*direct)) {
	if d == nil {
		return
	}
	if d.single != nil {
		f(d.single)
	}
	d.nodes.Range(func(_, p any) bool { f(p.(*direct)); return true })
}

// count returns how many connections there are.
func (d *directs) count() (n int) {
	d.all(func(p *direct) {
		p.mu.Lock()
		defer p.mu.Unlock()
		n += len(p.all)
	})
	return n
}

// direct is a pool of connections to one server.
type direct struct {
	b    *Backend
	opts *redis.Options
	ctx  context.Context // ends with the pool
	end  context.CancelFunc

	mu     sync.Mutex
	idle   []*wire // the last one was used last
	all    map[*wire]struct{}
	opened int // and being opened
	rest   time.Time
	sweep  *time.Timer // closes what is idle for too long
	closed bool
}

func newDirect(b *Backend, client *redis.Client) *direct {
	p := &direct{b: b, opts: client.Options(), all: map[*wire]struct{}{}}
	p.ctx, p.end = context.WithCancel(context.Background())
	return p
}

// take returns a connection that serves nobody, or nil if go-redis shall see to
// the call.
func (p *direct) take(ctx context.Context, now time.Time) (*wire, error) {
	for {
		x, open := p.next(now)
		switch {
		case x == nil && !open:
			return nil, nil
		case x == nil:
			return p.open(ctx, now)
		case p.lives(x, now):
			return x, nil
		}
		p.drop(x, false)
	}
}

// next takes an idle connection, or says that there may be one more.
func (p *direct) next(now time.Time) (x *wire, open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := len(p.idle) - 1; last >= 0 {
		x, p.idle[last] = p.idle[last], nil
		p.idle = p.idle[:last]
		return x, false
	}
	if p.closed || p.opened >= p.opts.PoolSize || now.Before(p.rest) {
		return nil, false
	}
	p.opened++
	return nil, true
}

// lives reports whether an idle connection is still good. One that was used a
// moment ago is not asked, unless some connection has failed since.
func (p *direct) lives(x *wire, now time.Time) bool {
	if age := p.opts.ConnMaxLifetime; age > 0 && now.Sub(x.born) > age {
		return false
	}
	idle := now.Sub(x.used)
	if idle < pollEvery && p.b.watch.failed.Load() < mono.At(x.used, now) {
		return true
	}
	if age := p.opts.ConnMaxIdleTime; age > 0 && idle > age {
		return false
	}
	return x.r.Buffered() == 0 && quiet(socket(x.conn))
}

// put gives back a connection that served a call with that outcome.
func (p *direct) put(x *wire, outcome error) {
	x.end()
	if !usable(outcome) || x.err != nil || x.r.Buffered() > 0 {
		p.drop(x, true)
		return
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		p.drop(x, false)
		return
	}
	p.idle = append(p.idle, x)
	p.sweepLater()
	p.mu.Unlock()
}

func (p *direct) drop(x *wire, reset bool) {
	x.close(reset)
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.all[x]; ok {
		delete(p.all, x)
		p.opened--
	}
}

// empty closes what serves nobody.
func (p *direct) empty() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, x := range idle {
		p.drop(x, false)
	}
}

// sweepLater is called with the pool locked.
func (p *direct) sweepLater() {
	age := p.opts.ConnMaxIdleTime
	if age <= 0 || p.sweep != nil {
		return
	}
	p.sweep = time.AfterFunc(age, func() {
		var old []*wire
		p.mu.Lock()
		for p.sweep = nil; len(p.idle) > 0 && time.Since(p.idle[0].used) >= age; p.idle = p.idle[1:] {
			old = append(old, p.idle[0])
		}
		if len(p.idle) > 0 && !p.closed {
			p.sweepLater()
		}
		p.mu.Unlock()
		for _, x := range old {
			p.drop(x, false)
		}
	})
}

// close ends all connections, also those that serve somebody.
func (p *direct) close() {
	p.end()
	p.mu.Lock()
	p.closed = true
	if p.sweep != nil {
		p.sweep.Stop()
	}
	all := p.all
	p.idle, p.all, p.opened = nil, nil, 0
	p.mu.Unlock()
	for x := range all {
		_ = x.conn.Close()
	}
}

// open makes a connection, of which next has been told.
func (p *direct) open(ctx context.Context, now time.Time) (*wire, error) {
	type result struct {
		x   *wire
		err error
	}
	making, cancel := context.WithCancel(p.ctx)
	done := make(chan result, 1)
	go func() {
		defer cancel()
		x, err := p.connect(making, now)
		x, err = p.made(x, err, now)
		done <- result{x, err}
	}()
	select {
	case r := <-done:
		return r.x, r.err
	case <-ctx.Done():
	}
	time.AfterFunc(directLinger, cancel)
	go func() {
		if r := <-done; r.x != nil {
			p.put(r.x, nil)
		}
	}()
	return nil, ctx.Err()
}

// made takes note of a connection, or of why there is none. A server that refuses
// the handshake for another reason than the credentials gets go-redis's, which
// knows older ones.
func (p *direct) made(x *wire, err error, now time.Time) (*wire, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil && !p.closed {
		p.all[x] = struct{}{}
		return x, nil
	}
	p.opened--
	if x != nil {
		_ = x.conn.Close()
	}
	if p.closed {
		return nil, backends.ErrClosed
	}
	if refused, ok := err.(refusal); ok && !credentials(refused) || err == errReply {
		p.rest = now.Add(directRest)
		return nil, nil
	}
	return nil, err
}
