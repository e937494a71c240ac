package container_test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/cachekit-io/cachekit-go/codec/container"
)

func documents() map[string][]byte {
	noise := make([]byte, 100_000)
	rand.Read(noise)
	return map[string][]byte{
		"empty": {}, "one byte": {1}, "14 bytes": bytes.Repeat([]byte{7}, 14), "15 bytes": bytes.Repeat([]byte{7}, 15),
		"270 bytes": bytes.Repeat([]byte{7}, 270), "text": []byte(strings.Repeat("GET /api/users/42 200 OK\n", 40)),
		"noise": noise, "zeros beyond the ratio": make([]byte, 10<<20), "noise of 300 bytes": noise[:300],
	}
}

func TestRoundTrips(t *testing.T) {
	for name, doc := range documents() {
		v2, err := container.AppendV2([]byte("> "), doc)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := container.OpenV2([]byte("< "), v2[2:], 0)
		if err != nil || !bytes.Equal(got, append([]byte("< "), doc...)) {
			t.Errorf("%s: v2 does not come back: %v", name, err)
		}
		if len(v2) > len(doc)+16 {
			t.Errorf("%s: v2 takes %d bytes for %d", name, len(v2), len(doc))
		}
		env, err := container.AppendByteStorage(nil, doc, "msgpack")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, format, err := container.OpenByteStorage(env, len(doc))
		if err != nil || format != "msgpack" || !bytes.Equal(got, doc) {
			t.Errorf("%s: ByteStorage does not come back: %v", name, err)
		}
	}
}

func TestCompressionPays(t *testing.T) {
	doc := documents()["text"]
	v2, err := container.AppendV2(nil, doc)
	if err != nil || len(v2) > len(doc)/5 {
		t.Errorf("%d bytes of repetitive text became %d (%v)", len(doc), len(v2), err)
	}
}

func TestCallersLimit(t *testing.T) {
	doc := documents()["text"]
	v2, _ := container.AppendV2(nil, doc)
	env, _ := container.AppendByteStorage(nil, doc, "msgpack")
	if _, err := container.OpenV2(nil, v2, len(doc)-1); !errors.Is(err, container.ErrTooLarge) {
		t.Errorf("v2: got %v, want ErrTooLarge", err)
	}
	if _, _, err := container.OpenByteStorage(env, len(doc)-1); !errors.Is(err, container.ErrTooLarge) {
		t.Errorf("ByteStorage: got %v, want ErrTooLarge", err)
	}
}

// Each bomb is refused by its header alone: what it claims is never allocated.
func TestBombsAreNotAllocated(t *testing.T) {
	block := strings.Repeat("ff", 10_000)
	for name, tc := range map[string]struct {
		open func([]byte) error
		data string
		want error
	}{
		"v2, 1 TiB":               {openV2, "c1029301cf0000010000000000c40410410000", container.ErrTooLarge},
		"v2, ratio":               {openV2, "c1029301ce20000000c52710" + block, container.ErrRatio},
		"v2, forged bin32":        {openV2, "c102930005c6ffffffff", container.ErrLayout},
		"ByteStorage, ratio":      {openByteStorage, "94c52710" + block + "980000000000000000ce20000000a76d73677061636b", container.ErrRatio},
		"ByteStorage, array32":    {openByteStorage, "94ddffffffff", container.ErrLayout},
		"ByteStorage, sign bit":   {openByteStorage, "94c40100980000000000000000cf8000000000000000a76d73677061636b", container.ErrTooLarge},
		"ByteStorage, no payload": {openByteStorage, "94c40098000000000000000000a76d73677061636b", container.ErrRatio},
	} {
		data, err := hex.DecodeString(tc.data)
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err = tc.open(data)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, tc.want) || !errors.Is(err, container.ErrMalformed) {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 64<<10 {
			t.Errorf("%s: %d bytes were allocated", name, n)
		}
	}
}

func openV2(b []byte) error {
	_, err := container.OpenV2(nil, b, 0)
	return err
}

func openByteStorage(b []byte) error {
	_, _, err := container.OpenByteStorage(b, 0)
	return err
}

func FuzzOpenV2(f *testing.F) {
	for _, doc := range documents() {
		if len(doc) < 1<<20 {
			b, _ := container.AppendV2(nil, doc)
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := container.OpenV2(nil, data, 1<<20)
		if err != nil {
			if !errors.Is(err, container.ErrMalformed) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		again, err := container.AppendV2(nil, doc)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := container.OpenV2(nil, again, 1<<20); err != nil || !bytes.Equal(back, doc) {
			t.Fatalf("does not come back: %v", err)
		}
	})
}

func FuzzOpenByteStorage(f *testing.F) {
	for _, doc := range documents() {
		if len(doc) < 1<<20 {
			b, _ := container.AppendByteStorage(nil, doc, "msgpack")
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, _, err := container.OpenByteStorage(data, 1<<20); err != nil && !errors.Is(err, container.ErrMalformed) {
			t.Fatalf("untyped error %v", err)
		}
	})
}
