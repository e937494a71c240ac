package envelope_test

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/envelope"
)

var sizes = []int{64, 1 << 10, 64 << 10, 1 << 20}

// BenchmarkSeal compares Seal with bare crypto/aes GCM doing the same work: a
// fresh output of exact size and an 80-byte AAD. The nonce of the bare one is
// constant, which no product may do.
func BenchmarkSeal(b *testing.B) {
	gcm := bareGCM(b)
	box := box(b, envelope.Config{}, master(b, "1"))
	fresh := box2(b)
	now := time.Now()
	for _, size := range sizes {
		doc := make([]byte, size)
		b.Run(fmt.Sprintf("bare/%d", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			nonce, aad := make([]byte, 12), make([]byte, 80)
			for b.Loop() {
				out := make([]byte, 12, size+28)
				gcm.Seal(out, nonce, doc, aad)
			}
		})
		b.Run(fmt.Sprintf("envelope/%d", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				box.Seal(now, "users:get_user:61598716255080080f6456eb", doc)
			}
		})
		b.Run(fmt.Sprintf("random-nonces/%d", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				fresh.Seal(now, "users:get_user:61598716255080080f6456eb", doc)
			}
		})
	}
}

// BenchmarkOpen compares Open into a reused buffer with bare crypto/aes GCM.
func BenchmarkOpen(b *testing.B) {
	gcm := bareGCM(b)
	box := box(b, envelope.Config{}, master(b, "1"))
	for _, size := range sizes {
		buf := make([]byte, 0, size+32)
		b.Run(fmt.Sprintf("bare/%d", size), func(b *testing.B) {
			nonce, aad := make([]byte, 12), make([]byte, 80)
			sealed := gcm.Seal(nil, nonce, make([]byte, size), aad)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := gcm.Open(buf, nonce, sealed, aad); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("envelope/%d", size), func(b *testing.B) {
			r := received(box.Seal(time.Now(), "users:get_user:61598716255080080f6456eb", make([]byte, size)))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := box.Open(buf, r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func box2(b *testing.B) *envelope.Box {
	return box(b, envelope.Config{RandomNonces: true}, master(b, "1"))
}

func bareGCM(b *testing.B) cipher.AEAD {
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		b.Fatal(err)
	}
	return gcm
}
