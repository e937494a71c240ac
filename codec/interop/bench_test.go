package interop_test

import (
	"testing"
	"time"

	"golang.org/x/crypto/blake2b"

	"github.com/cachekit-io/cachekit-go/codec"
	"github.com/cachekit-io/cachekit-go/codec/interop"
)

type request struct {
	User   int    `json:"user"`
	Region string `json:"region"`
}

// BenchmarkKey compares keys with the bare hash of one block, the least that
// any of them costs.
func BenchmarkKey(b *testing.B) {
	op, err := interop.NewOperation("users", "get_user")
	if err != nil {
		b.Fatal(err)
	}
	b.Run("bare BLAKE2b-256", func(b *testing.B) {
		b.ReportAllocs()
		var block [64]byte
		for b.Loop() {
			sum := blake2b.Sum256(block[:])
			copy(block[:], sum[:])
		}
	})
	for _, bm := range []struct {
		name string
		args []any
	}{
		{"int", []any{1 << 30}},
		{"int, string, bool", []any{42, "region", true}},
		{"time and bytes", []any{time.Unix(1, 500_000_000), []byte("abc")}},
		{"uuid", []any{uuid{1, 2, 3}}},
		{"struct", []any{request{42, "eu"}}},
		{"map", []any{map[string]any{"user": 42, "region": "eu"}}},
		{"set", []any{codec.Set{1, 2, 3, "a"}}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := op.Key(bm.args...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A key of plain arguments costs the memory of its text and nothing else. (With
// the race detector, pools lose what is put in them at random.)
func TestKeyAllocatesItsTextOnly(t *testing.T) {
	op, err := interop.NewOperation("users", "get_user")
	if err != nil {
		t.Fatal(err)
	}
	args := []any{1 << 30, "region", true, 1.5, []byte("abc"), time.Unix(1, 0), nil}
	n := testing.AllocsPerRun(200, func() {
		if _, err := op.Key(args...); err != nil {
			t.Fatal(err)
		}
	})
	if n > 1 && !raceEnabled {
		t.Errorf("%v allocations a key, want 1", n)
	}
}
