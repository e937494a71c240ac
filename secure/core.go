package secure

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/blake2b"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/resilient"
	"github.com/cachekit-io/cachekit-go/internal/flight"
	"github.com/cachekit-io/cachekit-go/internal/store"
	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/l1"
)

// core is what the namespaces, views and operations of one cache share.
type core struct {
	settings
	keys      atomic.Pointer[keyState]
	store     *store.Store       // nil with L1Only
	resilient *resilient.Backend // nil without it
	l1        *l1.Cache[local]   // nil with NoL1
	coherence *coherence         // nil without it
	order     *writeOrder
	flights   *flight.Group[loaded]
	hide      keys.NameSecret
	counts    counters
	sampler   sampler
	backend   string         // the kind of storage, for the observer
	releases  sync.WaitGroup // locks that are given back
	owned     io.Closer      // the backend, if the cache opened it
	unmeter   func()
	detach    func() // ends what the observer attached
	closed    atomic.Bool
	unfollow  func() // ends following the keyring's source, if it is followed
}

// build validates everything before it opens anything.
func build(ctx context.Context, p profile, opts *Options) (*Cache, error) {
	if opts == nil {
		opts = new(Options)
	}
	s, err := p.settings(opts)
	if err != nil {
		return nil, err
	}
	c := &core{settings: s, hide: opts.KeyNameSecret, order: newWriteOrder()}
	source, ring, err := c.openKeys(ctx, opts)
	if err != nil {
		return nil, err
	}
	if !s.l1Only {
		r, err := resolveBackend(ctx, p, opts)
		if err != nil {
			return nil, err
		}
		b, err := c.wrap(r.backend, opts.ReliabilityOptions)
		if err != nil {
			return nil, err
		}
		c.store = store.New(b)
		if c.observer != nil {
			c.backend = kindOf(r.backend)
			c.store.Observe(c.backendCall)
		}
		if r.owned {
			c.owned = c.store
		}
		if c.fillLock, err = c.locks(opts.FillLock); err != nil {
			if r.owned {
				_ = c.owned.Close()
			}
			return nil, err
		}
	}
	if s.l1 {
		o := l1.Options{MaxBytes: s.l1Bytes}
		if opts.Coherence == On {
			c.coherence = newCoherence(c)
			o.Admit = c.coherence.admits
		}
		c.l1 = l1.New(localSize, &o)
	}
	if c.store != nil {
		c.unmeter = c.store.Meter(c.counted)
	}
	c.flights = flight.New[loaded](&flight.Options{Timeout: s.loadTimeout})
	c.follow(source, ring)
	if err := c.cohere(prefix(s.namespace)); err != nil {
		_ = c.close()
		return nil, err
	}
	built := &Cache{core: c, prefix: prefix(s.namespace)}
	if c.observer != nil && c.observer.Attach != nil {
		c.detach = c.observer.Attach(built.Stats)
	}
	return built, nil
}

// close ends background work, then closes what the cache opened.
func (c *core) close() error {
	if c.closed.Swap(true) {
		return nil
	}
	if c.unfollow != nil {
		c.unfollow()
	}
	c.coherence.end()
	c.flights.Close()
	c.releases.Wait()
	if c.detach != nil {
		c.detach()
	}
	c.sampler.closeAll(c.log)
	if c.l1 != nil {
		c.l1.Close()
	}
	if c.unmeter != nil {
		c.unmeter()
	}
	if c.owned != nil {
		return c.owned.Close()
	}
	return nil
}

// label is the short keyed hash that stands for a storage key in errors and
// logs.
func (c *core) label(name string) string {
	h, err := blake2b.New(6, c.keys.Load().labelKey.Reveal())
	if err != nil {
		panic("secure: blake2b refused a 32-byte key: " + err.Error())
	}
	h.Write([]byte(name))
	return hex.EncodeToString(h.Sum(nil))
}

// fail wraps err for the caller, with its class and the entry's label.
func (c *core) fail(ctx context.Context, op, name string, err error) error {
	if err == nil {
		return nil
	}
	err = classify(err)
	if errors.Is(err, ErrAuth) {
		c.counts.authFailures.Add(1)
		c.note(ctx, slog.LevelError, Event{Kind: "auth_failure", Op: op}, name, "entry failed authentication", "op", op)
	}
	e := &Error{Op: op, Err: err}
	if name != "" {
		e.Entry = c.label(name)
	}
	return e
}

// absorbed reports a failure that a load survived.
func (c *core) absorbed(ctx context.Context, op, name string, err error) {
	if err == nil {
		return
	}
	c.counts.absorbed.Add(1)
	c.note(ctx, slog.LevelWarn, Event{Kind: "load_without_cache", Op: op, Error: errorClass(err, false)}, name, "load went on without the cache", "op", op, "error", classify(err))
}

// checkKey refuses what the family or the backend cannot hold.
func (c *core) checkKey(name string) error {
	if c.store != nil {
		return c.store.CheckKey(name)
	}
	return backends.CheckKey(name)
}

// health asks the backend, or answers for the in-process layer.
func (c *core) health(ctx context.Context) backends.Health {
	switch {
	case c.closed.Load():
		return backends.Health{BackendType: "closed", Err: &Error{Op: "health", Err: ErrClosed}}
	case c.store == nil:
		start := time.Now()
		c.l1.Stats()
		return backends.Health{OK: true, BackendType: "l1", Latency: max(time.Since(start), 1)}
	}
	return c.store.Health(ctx)
}
