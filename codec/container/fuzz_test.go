package container_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/cachekit-io/cachekit-go/codec/container"
)

const fuzzLimit = 1 << 20

// seed adds the vectors, except the large ones, and containers of our own.
func seed(f *testing.F, file vectorFile, wrap func(doc []byte) ([]byte, error)) {
	for _, v := range append(file.Opens, file.Refused...) {
		if len(v.Container) < 2000 {
			f.Add([]byte(v.Container))
		}
	}
	for _, doc := range documents() {
		if len(doc) > 2000 {
			continue
		}
		b, err := wrap(doc)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
}

func FuzzOpenV2(f *testing.F) {
	seed(f, loadV2(f), func(doc []byte) ([]byte, error) { return container.AppendV2(nil, doc) })
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := container.OpenV2([]byte("kept"), data, fuzzLimit)
		if !bytes.HasPrefix(doc, []byte("kept")) {
			t.Fatal("dst is not kept")
		}
		if doc = doc[4:]; err != nil {
			if !errors.Is(err, container.ErrMalformed) || len(doc) > 0 {
				t.Fatalf("%d bytes beside the error %v", len(doc), err)
			}
			return
		}
		again, err := container.AppendV2(nil, doc)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := container.OpenV2(nil, again, fuzzLimit); err != nil || !bytes.Equal(back, doc) {
			t.Fatalf("does not come back: %v", err)
		}
	})
}

func FuzzOpenByteStorage(f *testing.F) {
	seed(f, loadByteStorage(f), func(doc []byte) ([]byte, error) { return container.AppendByteStorage(nil, doc, "msgpack") })
	f.Fuzz(func(t *testing.T, envelope []byte) {
		data, format, err := container.OpenByteStorage(envelope, fuzzLimit)
		if err != nil {
			if !errors.Is(err, container.ErrMalformed) || data != nil || format != "" {
				t.Fatalf("%d bytes beside the error %v", len(data), err)
			}
			return
		}
		again, err := container.AppendByteStorage(nil, data, format)
		if err != nil {
			t.Fatal(err)
		}
		if back, token, err := container.OpenByteStorage(again, fuzzLimit); err != nil || token != format || !bytes.Equal(back, data) {
			t.Fatalf("does not come back: %v", err)
		}
	})
}
