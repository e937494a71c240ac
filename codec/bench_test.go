package codec_test

import (
	"crypto/rand"
	"testing"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/cachekit-io/cachekit-go/codec"
)

type item struct {
	ID   int64  `msgpack:"id"`
	Name string `msgpack:"name"`
	Body []byte `msgpack:"body"`
}

func newItem(size int) item {
	body := make([]byte, size)
	rand.Read(body)
	return item{ID: 123456789, Name: "a name of usual length", Body: body}
}

// BenchmarkEncode compares with vmihailenco/msgpack, which has no bounds and no
// canonical order.
func BenchmarkEncode(b *testing.B) {
	v := newItem(1024)
	b.Run("msgpack-v5", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := msgpack.Marshal(&v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("codec", func(b *testing.B) {
		buf := make([]byte, 0, 2048)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := codec.Append(buf, &v); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	v := newItem(1024)
	doc, err := codec.Marshal(v)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("msgpack-v5", func(b *testing.B) {
		var out item
		b.ReportAllocs()
		for b.Loop() {
			if err := msgpack.Unmarshal(doc, &out); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("codec", func(b *testing.B) {
		var out item
		b.ReportAllocs()
		for b.Loop() {
			if err := codec.Unmarshal(doc, &out); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("check", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := codec.Check(doc); err != nil {
				b.Fatal(err)
			}
		}
	})
}
