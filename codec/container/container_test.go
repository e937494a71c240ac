package container_test

import (
	"bytes"
	"crypto/rand"
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

func openV2(b []byte) error {
	_, err := container.OpenV2(nil, b, 0)
	return err
}

func openByteStorage(b []byte) error {
	_, _, err := container.OpenByteStorage(b, 0)
	return err
}
