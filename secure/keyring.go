package secure

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/envelope"
	"github.com/cachekit-io/cachekit-go/internal/secret"
	"github.com/cachekit-io/cachekit-go/keys"
)

const (
	// refreshTimeout bounds one look at the source of the keyring.
	refreshTimeout = 30 * time.Second
	// repeatEvery is after how many looks a failure that stays is logged again.
	repeatEvery = 60
)

// keyState is everything that is derived from a keyring. It is replaced as a
// whole, so that an operation sees one keyring from its beginning to its end.
type keyState struct {
	box      *envelope.Box
	labelKey secret.Bytes
	budget   sync.Once
}

// openKeys resolves the keyring and derives the tenant's keys from it.
func (c *core) openKeys(ctx context.Context, opts *Options) (keys.Source, *keys.Keyring, error) {
	if c.plaintext {
		var key [32]byte
		rand.Read(key[:])
		c.keys.Store(&keyState{box: envelope.NewPlain(), labelKey: secret.New(key[:])})
		return nil, nil, nil
	}
	source, ring, err := resolveKeyring(ctx, opts)
	if err != nil {
		return nil, nil, err
	}
	state, err := c.derive(ring, func(r *keys.Keyring) (*envelope.Box, error) {
		return envelope.New(r, envelope.Config{Tenant: c.tenant, Compressed: c.v2, RandomNonces: c.randomNonces})
	})
	if err != nil {
		return nil, nil, misconfigured("%w", err)
	}
	c.keys.Store(state)
	return source, ring, nil
}

func (c *core) derive(ring *keys.Keyring, box func(*keys.Keyring) (*envelope.Box, error)) (*keyState, error) {
	labels, err := ring.Derive(secret.NewGrant(), keys.DomainCacheKeys, c.tenant)
	if err != nil {
		return nil, err
	}
	b, err := box(ring)
	if err != nil {
		return nil, err
	}
	return &keyState{box: b, labelKey: labels[0].Bytes}, nil
}

// follow asks a source that can change again and again, until the cache is
// closed. ring is what it returned to the constructor.
func (c *core) follow(source keys.Source, ring *keys.Keyring) {
	s, ok := source.(keys.Refresher)
	if !ok {
		return
	}
	interval := s.RefreshInterval()
	if interval <= 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		ticks := time.NewTicker(interval)
		defer ticks.Stop()
		f := follower{core: c, source: s, ring: ring}
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticks.C:
				f.look(ctx)
			}
		}
	})
	c.unfollow = func() {
		cancel()
		running.Wait()
	}
}

// follower is the one goroutine that replaces the key state.
type follower struct {
	*core
	source  keys.Refresher
	ring    *keys.Keyring // in use
	failure string        // what was logged last
	repeats int
}

// look takes over a keyring that has changed.
func (f *follower) look(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	ring, err := askAgain(bounded, f.source)
	switch {
	case ctx.Err() != nil:
		return
	case err == nil && ring != f.ring:
		err = f.use(ctx, ring)
	}
	if err == nil {
		f.failure = ""
		return
	}
	f.counts.reloadFailures.Add(1)
	if f.observer != nil && f.observer.Event != nil {
		f.observer.Event(Event{Kind: "keyring_failure"})
	}
	if f.repeats++; f.failure != err.Error() || f.repeats >= repeatEvery {
		f.failure, f.repeats = err.Error(), 0
		f.log.ErrorContext(ctx, "cachekit: keyring not reloaded, the one in use is kept", "error", err)
	}
}

// askAgain turns the panic of a user's source into an error: nobody would catch
// it here.
func askAgain(ctx context.Context, source keys.Source) (ring *keys.Keyring, err error) {
	defer func() {
		if recover() != nil {
			ring, err = nil, errors.New("secure: the source of the keyring panicked")
		}
	}()
	ring, err = source.Keyring(ctx)
	if err == nil && ring == nil {
		err = errors.New("secure: the source of the keyring returned none")
	}
	return ring, err
}

// use makes ring the one in use. Entries in the in-process layer are opened on
// every hit, so those under keys that stay may stay. When a key is gone, all go:
// without a backend, nothing else would remove those under it.
func (f *follower) use(ctx context.Context, ring *keys.Keyring) error {
	old := f.keys.Load()
	state, err := f.derive(ring, old.box.Rekey)
	if err != nil {
		return err
	}
	f.keys.Store(state)
	f.ring = ring
	if f.l1 != nil && state.box.Lacks(old.box) {
		f.l1.Flush()
	}
	f.counts.reloads.Add(1)
	f.note(ctx, slog.LevelInfo, Event{Kind: "keyring_reload"}, "", "keyring reloaded", "keys", ring.Len(), "current", state.box.Use()[0].Fingerprint.String())
	return nil
}
