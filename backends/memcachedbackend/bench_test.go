package memcachedbackend_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/beside"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// BenchmarkBeside compares with bare gomemcache, whose pool is made large enough
// for the callers and which has no batch of writes: it sends them one by one. Ours
// runs under a context that can end.
func BenchmarkBeside(b *testing.B) {
	s := testenv.Memcached(b, nil)
	bare := memcache.New(s.Addr())
	bare.MaxIdleConns, bare.Timeout = 64, patient
	b.Cleanup(func() { _ = bare.Close() })
	ours := open(b, s.Addr(), nil)
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	b.Cleanup(cancel)
	beside.Table(b, func(size int) []beside.Case {
		keys, items := make([]string, beside.Keys), make([]backends.Item, beside.Keys)
		for i := range keys {
			keys[i] = fmt.Sprintf("k:%d:%d", size, i)
			items[i] = backends.Item{Key: keys[i], Value: make([]byte, size), TTL: time.Hour}
		}
		many, batch := keys[:beside.Batch], items[:beside.Batch]
		bareSet := func(i int) error {
			return bare.Set(&memcache.Item{Key: keys[i], Value: items[i].Value, Expiration: 60})
		}
		bareGet := func(i int) error { _, err := bare.Get(keys[i]); return err }
		ours.SetMany(ctx, items)
		return []beside.Case{
			{Name: "get", Bare: bareGet, Ours: func(i int) error { _, err := ours.Get(ctx, keys[i]); return err }},
			{Name: "entry", Bare: bareGet, Ours: func(i int) error { _, err := ours.GetEntry(ctx, keys[i]); return err }},
			{Name: "set", Bare: bareSet, Ours: func(i int) error { return ours.Set(ctx, keys[i], items[i].Value, time.Minute) }},
			{Name: "get100", Bare: func(int) error { _, err := bare.GetMulti(many); return err },
				Ours: func(int) error { return ours.GetMany(ctx, many)[beside.Batch-1].Err }},
			{Name: "set100", Bare: func(int) error {
				for i := range many {
					if err := bareSet(i); err != nil {
						return err
					}
				}
				return nil
			}, Ours: func(int) error { return ours.SetMany(ctx, batch)[beside.Batch-1] }},
		}
	})
}
