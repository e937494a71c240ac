package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/memorybackend"
	"github.com/cachekit-io/cachekit-go/backends/resilient"
	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/secure"
	"github.com/cachekit-io/cachekit-go/secure/otelsecure"
)

// shop is a program with a cache, on a storage that fails on command.
type shop struct {
	storage  *storage
	old      *secure.Cache // a process before the rotation
	products secure.View[string]
	cache    *secure.Cache
}

// storage is the memory backend with tampered reads on command.
type storage struct {
	*memorybackend.Backend
	tampered atomic.Bool
}

func (s *storage) Get(ctx context.Context, key string) ([]byte, error) {
	e, err := s.GetEntry(ctx, key)
	return e.Value, err
}

func (s *storage) GetEntry(ctx context.Context, key string) (backends.Entry, error) {
	time.Sleep(200 * time.Microsecond) // the network
	e, err := s.Backend.GetEntry(ctx, key)
	if err == nil && s.tampered.Load() {
		e.Value[len(e.Value)-1] ^= 1
	}
	return e, err
}

const products = 200

// newShop builds a cache whose keyring is amid a rotation: what it finds in the
// storage was sealed under the previous key.
func newShop(ctx context.Context, log *slog.Logger) (*shop, error) {
	before, now := keys.Generate(), keys.Generate()
	ring, err := keys.NewKeyring(now, before)
	if err != nil {
		return nil, err
	}
	s := &shop{storage: &storage{Backend: memorybackend.New(nil)}}
	options := func() *secure.Options {
		return &secure.Options{
			Namespace: "products", Backend: s.storage, Logger: log, L1BackfillTTL: 100 * time.Millisecond, Coherence: secure.On,
			ReliabilityOptions: &resilient.Options{Attempts: 2, BaseDelay: time.Millisecond, OpenFor: 500 * time.Millisecond},
		}
	}
	old := options()
	old.MasterKey = before
	if s.old, err = secure.New(ctx, old); err != nil {
		return nil, err
	}
	for i := range products / 2 {
		if err := s.old.SetTTL(ctx, fmt.Sprint(i), "a product", time.Hour); err != nil {
			return nil, err
		}
	}
	o := options()
	o.Keyring, o.Observer = ring, otelsecure.Instrument("products", nil)
	if s.cache, err = secure.New(ctx, o); err != nil {
		return nil, err
	}
	s.products = secure.For[string](s.cache)
	return s, nil
}

func (s *shop) close() {
	s.cache.Close()
	s.old.Close()
}

// request is what a user of the shop does: one product that is not cached.
func (s *shop) request(ctx context.Context) error {
	ctx, span := otel.Tracer("shop").Start(ctx, "GET /products/{id}")
	defer span.End()
	_, err := s.product(ctx, products+1)
	return err
}

func (s *shop) product(ctx context.Context, id int) (string, error) {
	return s.products.GetOrLoad(ctx, fmt.Sprint(id), func(ctx context.Context) (string, error) {
		_, span := otel.Tracer("shop").Start(ctx, "SELECT products")
		defer span.End()
		time.Sleep(time.Millisecond) // the database
		return "a product", nil
	})
}

// play serves requests through five phases: all well; the storage is down; it is
// back; it is tampered with; all well, and old entries are written anew.
func (s *shop) play(ctx context.Context, phase time.Duration, scrape func() error) error {
	next := time.Now()
	start := next
	for n := 0; ; n++ {
		p := int(time.Since(start) / phase)
		switch p {
		case 1:
			s.storage.Fail(backends.Transient)
		case 2:
			s.storage.Resume()
		case 3:
			s.storage.tampered.Store(true)
		case 4:
			s.storage.tampered.Store(false)
			if err := s.products.Set(ctx, fmt.Sprint(n%products), "a product"); err != nil {
				return err
			}
		case 5:
			return scrape()
		}
		time.Sleep(300 * time.Microsecond) // the next request
		if _, err := s.product(ctx, n*n%products); err != nil && p != 3 {
			return err
		}
		if time.Now().After(next) {
			next = next.Add(phase / 20)
			if err := scrape(); err != nil {
				return err
			}
		}
	}
}
