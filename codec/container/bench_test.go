package container_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pierrec/lz4/v4"
	"github.com/zeebo/xxh3"

	"github.com/cachekit-io/cachekit-go/codec/container"
)

// BenchmarkContainers compares both containers with the bare libraries that do
// their work.
func BenchmarkContainers(b *testing.B) {
	for _, size := range []int{256, 4 << 10, 64 << 10} {
		doc := []byte(strings.Repeat("GET /api/users/42 200 OK, eu-west-1; ", size/37+1)[:size])
		v2, err := container.AppendV2(nil, doc)
		if err != nil {
			b.Fatal(err)
		}
		env, err := container.AppendByteStorage(nil, doc, "msgpack")
		if err != nil {
			b.Fatal(err)
		}
		var c lz4.Compressor
		block := make([]byte, lz4.CompressBlockBound(size))
		n, err := c.CompressBlock(doc, block)
		if err != nil {
			b.Fatal(err)
		}
		buf, out := make([]byte, 0, 2*size), make([]byte, size)
		for _, bm := range []struct {
			name string
			op   func() error
		}{
			{"compress/bare lz4", func() error { _, err := c.CompressBlock(doc, block[:cap(block)]); return err }},
			{"compress/bare lz4 and xxh3", func() error { _ = xxh3.Hash(doc); _, err := c.CompressBlock(doc, block); return err }},
			{"compress/v2", func() error { _, err := container.AppendV2(buf, doc); return err }},
			{"compress/ByteStorage", func() error { _, err := container.AppendByteStorage(buf, doc, "msgpack"); return err }},
			{"open/bare lz4", func() error { _, err := lz4.UncompressBlock(v2[len(v2)-n:], out); return err }},
			{"open/v2", func() error { _, err := container.OpenV2(buf, v2, 0); return err }},
			{"open/ByteStorage", func() error { _, _, err := container.OpenByteStorage(env, 0); return err }},
		} {
			b.Run(fmt.Sprintf("%s/%d", bm.name, size), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(size))
				for b.Loop() {
					if err := bm.op(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
