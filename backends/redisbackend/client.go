package redisbackend

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/internal/doubt"
)

// New returns a backend over a client of the caller's, which stays open when
// the backend is closed: a [*redis.Client], also one of NewFailoverClient, a
// [*redis.ClusterClient] or a [*redis.Ring]. It does no I/O.
//
// The client must be configured so that a context can end a call and no command
// is sent twice: ContextTimeoutEnabled true, MaxRetries -1, ReadTimeout and
// WriteTimeout positive. New refuses another with a [*ClientError] that says
// what to change.
//
// New adds a hook to the client that watches the connections it opens from then
// on. Give it a client before its first command, and without MinIdleConns. With
// a client that has open connections already, calls whose context can end cost a
// goroutine and a copy of the value each, and a write that is given up on one of
// the old connections can still land late: within the client's timeouts, or for
// as long as the kernel retransmits. Prefer [Open].
func New(client redis.UniversalClient, opts *Options) (*Backend, error) {
	o, err := opts.validate()
	if err != nil {
		return nil, err
	}
	w := &watch{bulk: o.MaxValueBytes}
	b, err := newBackend(client, o, w)
	if err != nil {
		return nil, err
	}
	add := func(node *redis.Client) {
		if node.PoolStats().TotalConns > 0 {
			b.detached.Store(true)
		}
		node.AddHook(hook{w})
	}
	switch c := client.(type) {
	case *redis.Client:
		add(c)
	case *redis.Ring:
		c.OnNewNode(add)
		// Its nodes are there already; this sends nothing.
		_ = c.ForEachShard(context.Background(), func(_ context.Context, node *redis.Client) error { add(node); return nil })
	case *redis.ClusterClient:
		b.nodes = &adoption{add: add, seen: map[*redis.Client]bool{}}
		c.OnNewNode(b.nodes.once)
	}
	return b, nil
}

// adoption finds the nodes that a Cluster client had before New: they can only
// be listed once the map of slots is loaded, which is left to the first call.
type adoption struct {
	add  func(*redis.Client)
	done atomic.Bool

	mu   sync.Mutex
	seen map[*redis.Client]bool
}

// once adds a node that was not seen before.
func (a *adoption) once(node *redis.Client) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.seen[node] {
		return
	}
	if a.pending() {
		a.seen[node] = true
	}
	a.add(node)
}

// pending reports whether nodes may be unknown yet.
func (a *adoption) pending() bool { return a != nil && !a.done.Load() }

func (a *adoption) adopt(ctx context.Context, b *Backend) error {
	if !a.pending() {
		return nil
	}
	c := b.watch.begin(ctx, b.timeout)
	defer b.watch.end(c)
	err := b.client.(*redis.ClusterClient).ForEachShard(c, func(_ context.Context, node *redis.Client) error {
		a.once(node)
		return nil
	})
	if err == nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.done.Store(true)
	}
	return err
}

// newBackend checks the client and takes the limit of a call from it.
func newBackend(client redis.UniversalClient, o Options, w *watch) (*Backend, error) {
	b := &Backend{client: client, watch: w, limit: o.MaxValueBytes, doubts: doubt.New()}
	var s settings
	switch c := client.(type) {
	case *redis.Client:
		if c == nil {
			return nil, &ClientError{"it is nil"}
		}
		p := c.Options()
		s = settings{p.ContextTimeoutEnabled, p.MaxRetries, p.ReadTimeout, p.WriteTimeout}
	case *redis.ClusterClient:
		if c == nil {
			return nil, &ClientError{"it is nil"}
		}
		p := c.Options()
		s = settings{p.ContextTimeoutEnabled, p.MaxRetries, p.ReadTimeout, p.WriteTimeout}
		b.cluster, b.sharded = true, true
	case *redis.Ring:
		if c == nil {
			return nil, &ClientError{"it is nil"}
		}
		s = ringSettings(c)
		b.sharded = true
	default:
		return nil, &ClientError{fmt.Sprintf("a %T cannot be inspected; pass a *redis.Client, *redis.ClusterClient or *redis.Ring", client)}
	}
	if err := s.check(o.Timeout); err != nil {
		return nil, err
	}
	b.timeout = o.Timeout
	if b.timeout == 0 {
		b.timeout = min(s.read, s.write)
	}
	return b, nil
}

// settings are the options of a client that decide whether it is usable.
type settings struct {
	contexts    bool
	retries     int
	read, write time.Duration
}

// ringSettings takes the timeouts from a shard: the Ring leaves its defaults to
// them. A Ring without shards has no timeouts.
func ringSettings(ring *redis.Ring) settings {
	p := ring.Options()
	s := settings{contexts: p.ContextTimeoutEnabled, retries: p.MaxRetries}
	var mu sync.Mutex
	_ = ring.ForEachShard(context.Background(), func(_ context.Context, node *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		s.read, s.write = node.Options().ReadTimeout, node.Options().WriteTimeout
		return nil
	})
	return s
}

func (s settings) check(timeout time.Duration) error {
	switch {
	case !s.contexts:
		return &ClientError{"set ContextTimeoutEnabled: true in its options, or calls outlive their contexts by seconds"}
	case s.retries > 0:
		return &ClientError{"set MaxRetries: -1 in its options, or a write is sent again after it was given up"}
	case s.read <= 0 || s.write <= 0:
		return &ClientError{"set ReadTimeout and WriteTimeout in its options to a positive duration"}
	case timeout > min(s.read, s.write):
		return &ClientError{"Options.Timeout is longer than the client's ReadTimeout or WriteTimeout"}
	}
	return nil
}

// hook watches the connections of a client that was passed in.
type hook struct{ w *watch }

func (h hook) DialHook(next redis.DialHook) redis.DialHook {
	return redis.DialHook(h.w.dial(dialer(next)))
}

func (hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
