package secure_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"testing"

	"github.com/cachekit-io/cachekit-go/secure"
)

type item struct {
	ID   int64  `msgpack:"id"`
	Name string `msgpack:"name"`
	Body []byte `msgpack:"body"`
}

func newItem(i, size int) item {
	body := make([]byte, size)
	rand.Read(body)
	return item{ID: int64(i), Name: fmt.Sprint("item ", i), Body: body}
}

// BenchmarkL1Hit is an encrypted hit of 1 KiB decoded into a reused struct, on
// a filled layer; and the same value held as it is.
func BenchmarkL1Hit(b *testing.B) {
	const n = 500 // as many as cachekit-rs holds; the peer's benchmark does the same
	ctx := context.Background()
	for name, build := range map[string]func() *secure.Cache{
		"sealed":     func() *secure.Cache { return open(b, newFake(), nil) },
		"sealed, ns": func() *secure.Cache { return open(b, newFake(), func(o *secure.Options) { o.Namespace = "users" }) },
	} {
		c := build()
		keys := make([]string, n)
		for i := range keys {
			keys[i] = fmt.Sprint("user:", i)
			if err := c.Set(ctx, keys[i], newItem(i, 1024)); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(name, func(b *testing.B) {
			var out item
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if found, err := c.Get(ctx, keys[i%n], &out); !found || err != nil {
					b.Fatal(found, err)
				}
			}
		})
	}
	c, err := secure.NewMinimal(ctx, &secure.Options{L1Only: true, Plaintext: true})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	v := secure.For[*item](c)
	for i := range n {
		it := newItem(i, 1024)
		v.Set(ctx, fmt.Sprint("user:", i), &it)
	}
	b.Run("object", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, found, err := v.Get(ctx, "user:7"); !found || err != nil {
				b.Fatal(found, err)
			}
		}
	})
}
