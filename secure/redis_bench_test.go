package secure_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/internal/beside"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
	"github.com/cachekit-io/cachekit-go/secure"
)

// BenchmarkRedis compares encrypted reads and writes of 1 KiB, in-process layer
// off, with bare go-redis moving the same bytes, by turns (internal/beside): for
// one caller and for 16, and a batch of 100 keys with an MGET. "floor" is the
// least that an encrypting cache can do: go-redis, AES-GCM under one cached key
// and msgpack/v5.
func BenchmarkRedis(b *testing.B) {
	ctx := context.Background()
	server := testenv.Redis(b, nil)
	opts, err := redis.ParseURL(server.URL())
	if err != nil {
		b.Fatal(err)
	}
	opts.PoolSize = 32
	bare := redis.NewClient(opts)
	b.Cleanup(func() { _ = bare.Close() })
	c, err := secure.New(ctx, &secure.Options{Backend: openRedis(b, server.URL()), MasterKey: key(b, "1"), NoL1: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	f := newFloor(b, bare)
	value := newItem(1, 1024)
	keys, bareKeys, floorKeys := make([]string, beside.Keys), make([]string, beside.Keys), make([]string, beside.Keys)
	for i := range keys {
		keys[i], bareKeys[i], floorKeys[i] = fmt.Sprint("item:", i), fmt.Sprint("bare:", i), fmt.Sprint("floor:", i)
		if err := c.Set(ctx, keys[i], value); err != nil {
			b.Fatal(err)
		}
		if err := f.set(ctx, floorKeys[i], &value); err != nil {
			b.Fatal(err)
		}
	}
	sealed, err := bare.Get(ctx, keys[0]).Bytes()
	if err != nil {
		b.Fatal(err)
	}
	for _, key := range bareKeys {
		bare.Set(ctx, key, sealed, time.Hour)
	}
	get := func(i int) error { var out item; _, err := c.Get(ctx, keys[i], &out); return err }
	set := func(i int) error { return c.Set(ctx, keys[i], &value) }
	for _, bc := range []beside.Case{
		{Name: "get", Bare: func(i int) error { return bare.Get(ctx, bareKeys[i]).Err() }, Ours: get},
		{Name: "get, floor", Bare: func(i int) error { var out item; return f.get(ctx, floorKeys[i], &out) }, Ours: get},
		{Name: "set", Bare: func(i int) error { return bare.Set(ctx, bareKeys[i], sealed, time.Hour).Err() }, Ours: set},
		{Name: "set, floor", Bare: func(i int) error { return f.set(ctx, floorKeys[i], &value) }, Ours: set},
	} {
		for _, callers := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/x%d", bc.Name, callers), func(b *testing.B) { bc.Run(b, callers) })
		}
	}
	v, many := secure.For[item](c), keys[:beside.Batch]
	b.Run("get100", func(b *testing.B) {
		beside.Case{
			Bare: func(int) error { return bare.MGet(ctx, bareKeys[:beside.Batch]...).Err() },
			Ours: func(int) error {
				got, err := v.GetMany(ctx, many)
				if err == nil && len(got) != len(many) {
					err = fmt.Errorf("%d of %d values", len(got), len(many))
				}
				return err
			},
		}.Run(b, 1)
	})
}

func openRedis(b *testing.B, url string) *redisbackend.Backend {
	backend, err := redisbackend.Open(context.Background(), url, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = backend.Close() })
	return backend
}

// floor is a cache of the fewest lines, with the keys in no AAD and one nonce: it
// is for measuring alone.
type floor struct {
	client *redis.Client
	aead   cipher.AEAD
	nonce  []byte
}

func newFloor(b *testing.B, client *redis.Client) *floor {
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		b.Fatal(err)
	}
	return &floor{client, aead, make([]byte, aead.NonceSize())}
}

func (f *floor) get(ctx context.Context, key string, dst any) error {
	sealed, err := f.client.Get(ctx, key).Bytes()
	if err != nil {
		return err
	}
	doc, err := f.aead.Open(sealed[:0], f.nonce, sealed, nil)
	if err != nil {
		return err
	}
	return msgpack.Unmarshal(doc, dst)
}

func (f *floor) set(ctx context.Context, key string, v any) error {
	doc, err := msgpack.Marshal(v)
	if err != nil {
		return err
	}
	return f.client.Set(ctx, key, f.aead.Seal(nil, f.nonce, doc, nil), time.Hour).Err()
}
