package container_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/cachekit-io/cachekit-go/codec/container"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Each bomb is refused by its header alone: what it claims is never allocated.
func TestBombsAreNotAllocated(t *testing.T) {
	block := "c5 2710" + strings.Repeat("ff", 10_000)
	legacy := "dc 2710" + strings.Repeat("ccff", 10_000)
	const sum, token = "98 00 00 00 00 00 00 00 00", "a7 6d73677061636b"
	for name, tc := range map[string]struct {
		open func([]byte) error
		data string
		want error
	}{
		"v2, 1 TiB":               {openV2, "c102 93 01 cf0000010000000000 c404 10410000", container.ErrTooLarge},
		"v2, 2^64-1":              {openV2, "c102 93 01 cfffffffffffffffff c404 10410000", container.ErrTooLarge},
		"v2, 1 TiB uncompressed":  {openV2, "c102 93 00 cf0000010000000000 c404 10410000", container.ErrTooLarge},
		"v2, ratio":               {openV2, "c102 93 01 ce20000000" + block, container.ErrRatio},
		"v2, more than LZ4 can":   {openV2, "c102 93 01 ce00989680" + block, container.ErrLZ4},
		"v2, forged bin32":        {openV2, "c102 93 00 05 c6ffffffff", container.ErrLayout},
		"v2, forged array32":      {openV2, "c102 dd ffffffff", container.ErrLayout},
		"ByteStorage, ratio":      {openByteStorage, "94" + block + sum + "ce20000000" + token, container.ErrRatio},
		"ByteStorage, LZ4":        {openByteStorage, "94" + block + sum + "ce00989680" + token, container.ErrLZ4},
		"ByteStorage, array32":    {openByteStorage, "94 ddffffffff", container.ErrLayout},
		"ByteStorage, bin32":      {openByteStorage, "94 c6ffffffff", container.ErrLayout},
		"ByteStorage, str32":      {openByteStorage, "94 c40100" + sum + "00 dbffffffff", container.ErrLayout},
		"ByteStorage, sign bit":   {openByteStorage, "94 c40100" + sum + "cf8000000000000000" + token, container.ErrTooLarge},
		"ByteStorage, no payload": {openByteStorage, "94 c400" + sum + "00" + token, container.ErrRatio},
		"ByteStorage, checksum":   {openByteStorage, "94 c40100" + legacy + "00" + token, container.ErrLayout},
		"array of ints, ratio":    {openByteStorage, "94" + legacy + sum + "ce20000000" + token, container.ErrRatio},
		"array of ints, trailing": {openByteStorage, "94" + legacy + sum + "05" + token + "c0", container.ErrTrailing},
	} {
		data := unhex(t, tc.data)
		var err error
		n := allocated(func() { err = tc.open(data) })
		if !errors.Is(err, tc.want) || !errors.Is(err, container.ErrMalformed) {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
		if n > 4<<10 {
			t.Errorf("%s: %d bytes were allocated", name, n)
		}
	}
}

func TestCallersLimit(t *testing.T) {
	doc := documents()["text"]
	v2, _ := container.AppendV2(nil, doc)
	plain, _ := container.AppendV2(nil, doc[:60])
	env, _ := container.AppendByteStorage(nil, doc, "msgpack")
	for _, tc := range []struct {
		limit int
		fits  bool
	}{{0, true}, {len(doc), true}, {math.MaxInt, true}, {len(doc) - 1, false}, {1, false}, {-1, false}, {math.MinInt, false}} {
		_, err := container.OpenV2(nil, v2, tc.limit)
		if tc.fits != (err == nil) || !tc.fits && !errors.Is(err, container.ErrTooLarge) {
			t.Errorf("v2, limit %d: %v", tc.limit, err)
		}
		_, _, err = container.OpenByteStorage(env, tc.limit)
		if tc.fits != (err == nil) || !tc.fits && !errors.Is(err, container.ErrTooLarge) {
			t.Errorf("ByteStorage, limit %d: %v", tc.limit, err)
		}
	}
	if _, err := container.OpenV2(nil, plain, 59); !errors.Is(err, container.ErrTooLarge) {
		t.Errorf("uncompressed v2: got %v, want ErrTooLarge", err)
	}
}

// A block that refers to bytes before its own output would read what the
// caller's buffer held: nothing of that may come back.
func TestMatchesDoNotReachBehindTheirStart(t *testing.T) {
	dst := append(make([]byte, 0, 4096), bytes.Repeat([]byte("secret"), 100)...)
	for name, block := range map[string]string{
		"offset 2 after 1 byte": "15 41 0200 10 41", "offset 65535": "1f 41 ffff 00 10 41", "offset 0": "15 41 0000 10 41", "match first": "05 0600 10 41",
	} {
		b := unhex(t, block)
		for size := range 64 {
			data := append(unhex(t, "c102 93 01"), byte(size), 0xc4, byte(len(b)))
			got, err := container.OpenV2(dst, append(data, b...), 0)
			if err == nil || !bytes.Equal(got, dst) {
				t.Errorf("%s, size %d: %v", name, size, err)
			}
		}
	}
}
