package memcachedbackend

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/doubt"
)

// maxKeyBytes is memcached's limit (doc/protocol.txt, "Keys").
const maxKeyBytes = 250

// Backend stores entries in memcached. It is safe for concurrent use.
type Backend struct {
	opts     Options
	selector memcache.ServerSelector
	doubts   *doubt.Keys
	closed   atomic.Bool

	mu      sync.RWMutex
	servers map[addr]*server // of a selector that was passed in
}

type addr struct{ network, name string }

var (
	_ backends.Backend  = (*Backend)(nil)
	_ backends.Wrapper  = (*Backend)(nil)
	_ backends.Batcher  = (*Backend)(nil)
	_ backends.Locker   = (*Backend)(nil)
	_ backends.KeyRuler = (*Backend)(nil)
	_ backends.Replacer = (*Backend)(nil)

	_ backends.EntryReader = (*Backend)(nil)
	_ backends.TTLer       = (*Backend)(nil)
	_ backends.Swapper     = (*Backend)(nil)
)

// Open connects to the servers of a list and makes one round trip to each, so
// that a wrong address shows here. ctx bounds the construction alone. The list
// is that of CACHEKIT_MEMCACHED_SERVERS:
//
//	host:port                     one server
//	host:port,host2:port          several; each key lives on one of them
//	["host:port", "host2:port"]   the same, as cachekit-py wants it
//
// Keys are shared out as cachekit-py does it; the order of the list does not
// matter, but the spelling of each host does. An unusable list is a
// [*ConfigError].
func Open(ctx context.Context, servers string, opts *Options) (*Backend, error) {
	o, err := opts.validate()
	if err != nil {
		return nil, err
	}
	names, err := parseServers(servers)
	if err != nil {
		return nil, err
	}
	b := &Backend{opts: o, doubts: doubt.New()}
	r := new(ring)
	for _, name := range names {
		r.servers = append(r.servers, &server{network: "tcp", name: name, opts: &b.opts})
	}
	b.selector = r
	if err := b.Health(ctx).Err; err != nil {
		_ = b.Close()
		return nil, err
	}
	return b, nil
}

// New returns a backend over the servers of a selector: a
// [*memcache.ServerList], so that keys live where a gomemcache client of the
// program looks for them, or one that finds its servers by itself. It does no
// I/O.
//
// There is no constructor over a [*memcache.Client]: it tells nothing of its
// selector, and nothing tells which of its connections a call uses, so a call
// could not end with its context.
func New(selector memcache.ServerSelector, opts *Options) (*Backend, error) {
	o, err := opts.validate()
	if err != nil {
		return nil, err
	}
	if selector == nil {
		return nil, &ConfigError{"the selector is nil"}
	}
	return &Backend{opts: o, selector: selector, doubts: doubt.New(), servers: map[addr]*server{}}, nil
}

// server returns the server that holds key.
func (b *Backend) server(key string) (*server, error) {
	picked, err := b.selector.PickServer(key)
	if err != nil {
		return nil, err
	}
	return b.serverAt(picked), nil
}

func (b *Backend) serverAt(picked net.Addr) *server {
	if s, ok := picked.(*server); ok {
		return s
	}
	a := addr{picked.Network(), picked.String()}
	b.mu.RLock()
	s := b.servers[a]
	b.mu.RUnlock()
	if s != nil {
		return s
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if s = b.servers[a]; s == nil {
		s = &server{network: a.network, name: a.name, opts: &b.opts, closed: b.closed.Load()}
		b.servers[a] = s
	}
	return s
}

// all returns the servers, in the order of the selector.
func (b *Backend) all() ([]*server, error) {
	var found []*server
	err := b.selector.Each(func(a net.Addr) error {
		found = append(found, b.serverAt(a))
		return nil
	})
	if err == nil && len(found) == 0 {
		err = memcache.ErrNoServers
	}
	return found, err
}

// Capabilities implements [backends.Wrapper]: what needs meta commands is not
// offered under Options.ClassicProtocol.
func (b *Backend) Capabilities() backends.Caps {
	c := backends.Caps{Batcher: b, Locker: b, Replacer: b, KeyRuler: b}
	if !b.opts.ClassicProtocol {
		c.EntryReader, c.TTLer, c.Swapper = b, b, b
	}
	return c
}

var rules = backends.KeyRules{MaxBytes: maxKeyBytes, Refuse: func(key string) string {
	for i := range len(key) {
		if c := key[i]; c <= ' ' || c >= 0x7f {
			return "key has a space or a character that is not ASCII, which memcached clients of the family refuse"
		}
	}
	return ""
}}

// KeyRules implements [backends.KeyRuler]: 1 to 250 bytes of printable ASCII
// without spaces, as cachekit-py and cachekit-rs have it.
func (b *Backend) KeyRules() backends.KeyRules { return rules }

// Get implements [backends.Backend].
func (b *Backend) Get(ctx context.Context, key string) ([]byte, error) {
	if err := rules.Check(key); err != nil {
		return nil, err
	}
	return do(ctx, b, "get", key, func(se *session) ([]byte, error) { return b.get(se, key) })
}

func (b *Backend) get(se *session, key string) ([]byte, error) {
	it, err := se.get(key, b.opts.MaxValueBytes)
	if err != nil {
		return nil, err
	}
	return it.Value, nil
}

// Set implements [backends.Backend]. A value that a server itself refuses as
// too large is TooLarge too, but memcached then drops the old entry.
func (b *Backend) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := b.checkItem("set", key, value, ttl); err != nil {
		return err
	}
	_, err := write(ctx, b, "set", key, func(se *session) (struct{}, error) {
		it := memcache.Item{Key: key, Value: value, Expiration: seconds(ttl)}
		return struct{}{}, se.store(func() error { return se.client.Set(&it) })
	})
	return err
}

func (b *Backend) checkItem(op, key string, value []byte, ttl time.Duration) error {
	if err := rules.Check(key); err != nil {
		return err
	}
	if ttl <= 0 {
		return backends.ErrTTL
	}
	if len(value) > b.opts.MaxValueBytes {
		return &backends.Error{Op: op, Backend: backendType, Kind: backends.TooLarge, Err: errValueTooLarge}
	}
	return nil
}

// Delete implements [backends.Backend].
func (b *Backend) Delete(ctx context.Context, key string) (bool, error) {
	if err := rules.Check(key); err != nil {
		return false, err
	}
	return existed(write(ctx, b, "delete", key, func(se *session) (struct{}, error) {
		return struct{}{}, se.store(func() error { return se.client.Delete(key) })
	}))
}

// existed makes of a miss the answer no.
func existed(_ struct{}, err error) (bool, error) {
	if err == backends.ErrNotFound {
		return false, nil
	}
	return err == nil, err
}

// Exists implements [backends.Backend].
func (b *Backend) Exists(ctx context.Context, key string) (bool, error) {
	if err := rules.Check(key); err != nil {
		return false, err
	}
	return existed(do(ctx, b, "exists", key, func(se *session) (struct{}, error) {
		if b.opts.ClassicProtocol {
			_, err := b.get(se, key)
			return struct{}{}, err
		}
		_, err := se.meta(key, "", 0)
		return struct{}{}, err
	}))
}

// Close implements [backends.Backend]. It waits for nothing: calls that are under
// way end by themselves, with their context or within Options.Timeout, and their
// connections with them. Later ones are [backends.ErrClosed].
func (b *Backend) Close() error {
	if b.closed.Swap(true) {
		return nil
	}
	servers, _ := b.all()
	b.mu.RLock()
	for _, s := range b.servers {
		servers = append(servers, s)
	}
	b.mu.RUnlock()
	for _, s := range servers {
		s.close()
	}
	return nil
}
