package redisbackend_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/beside"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// BenchmarkBeside compares with bare go-redis in its default configuration, under
// a context that can end. Batches are an MGET and a pipeline of SETs.
func BenchmarkBeside(b *testing.B) {
	s := testenv.Redis(b, nil)
	bare := redis.NewClient(&redis.Options{Addr: s.Addr()})
	b.Cleanup(func() { _ = bare.Close() })
	ours := open(b, s.URL(), nil)
	over := newOver(b, redis.NewClient(usable(s.Addr())))
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	b.Cleanup(cancel)
	beside.Table(b, func(size int) []beside.Case {
		keys, items := make([]string, beside.Keys), make([]backends.Item, beside.Keys)
		for i := range keys {
			keys[i] = fmt.Sprintf("k:%d:%d", size, i)
			items[i] = backends.Item{Key: keys[i], Value: make([]byte, size), TTL: time.Hour}
		}
		many, batch := keys[:beside.Batch], items[:beside.Batch]
		bareGet := func(i int) error { return bare.Get(ctx, keys[i]).Err() }
		ours.SetMany(ctx, items)
		return []beside.Case{
			{Name: "get", Bare: bareGet, Ours: func(i int) error { _, err := ours.Get(ctx, keys[i]); return err }},
			{Name: "get of New", Bare: bareGet, Ours: func(i int) error { _, err := over.Get(ctx, keys[i]); return err }},
			{Name: "entry", Bare: bareGet, Ours: func(i int) error { _, err := ours.GetEntry(ctx, keys[i]); return err }},
			{Name: "set", Bare: func(i int) error { return bare.Set(ctx, keys[i], items[i].Value, time.Minute).Err() },
				Ours: func(i int) error { return ours.Set(ctx, keys[i], items[i].Value, time.Minute) }},
			{Name: "get100", Bare: func(int) error { return bare.MGet(ctx, many...).Err() },
				Ours: func(int) error { return ours.GetMany(ctx, many)[beside.Batch-1].Err }},
			{Name: "set100", Bare: func(int) error {
				_, err := bare.Pipelined(ctx, func(p redis.Pipeliner) error {
					for _, it := range batch {
						p.Set(ctx, it.Key, it.Value, it.TTL)
					}
					return nil
				})
				return err
			}, Ours: func(int) error { return ours.SetMany(ctx, batch)[beside.Batch-1] }},
		}
	})
}
