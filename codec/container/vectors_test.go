package container_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"runtime"
	"testing"

	"github.com/cachekit-io/cachekit-go/codec"
	"github.com/cachekit-io/cachekit-go/codec/container"
)

// runs are bytes as the vectors have them: strings of hex, each with how often
// it is repeated.
type runs []byte

func (r *runs) UnmarshalJSON(text []byte) error {
	var pairs [][2]any
	if err := json.Unmarshal(text, &pairs); err != nil {
		return err
	}
	for _, p := range pairs {
		b, err := hex.DecodeString(p[0].(string))
		if err != nil {
			return err
		}
		*r = append(*r, bytes.Repeat(b, int(p[1].(float64)))...)
	}
	return nil
}

type vector struct {
	Name      string
	Format    string
	Encoding  string // of the compressed data in a ByteStorage envelope
	Canonical bool
	Method    byte
	Container runs
	Data      runs
	Want      string // the class of a refusal
}

type vectorFile struct {
	Opens            []vector
	Refused          []vector
	DocumentsRefused []vector `json:"documents_refused"`
}

var classes = map[string]error{
	"layout": container.ErrLayout, "method": container.ErrMethod, "trailing": container.ErrTrailing, "too large": container.ErrTooLarge,
	"ratio": container.ErrRatio, "lz4": container.ErrLZ4, "size": container.ErrSize, "checksum": container.ErrChecksum,
}

// load reads a file of vectors and pins how many it has.
func load(t testing.TB, name string, opens, refused int) vectorFile {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var f vectorFile
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Opens) != opens || len(f.Refused) != refused {
		t.Fatalf("%s has %d and %d vectors, want %d and %d", name, len(f.Opens), len(f.Refused), opens, refused)
	}
	return f
}

func loadByteStorage(t testing.TB) vectorFile { return load(t, "bytestorage.json", 22, 14) }
func loadV2(t testing.TB) vectorFile          { return load(t, "v2.json", 5, 16) }

func TestFamilyByteStorage(t *testing.T) {
	encodings := map[string]int{}
	for _, v := range loadByteStorage(t).Opens {
		encodings[v.Encoding]++
		data, format, err := container.OpenByteStorage(v.Container, 0)
		if err != nil || format != v.Format || !bytes.Equal(data, v.Data) {
			t.Errorf("%s: got %d bytes of %q, %v", v.Name, len(data), format, err)
		}
		again, err := container.AppendByteStorage(nil, v.Data, v.Format)
		if err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
		if back, _, err := container.OpenByteStorage(again, len(v.Data)); err != nil || !bytes.Equal(back, v.Data) {
			t.Errorf("%s: ours does not come back: %v", v.Name, err)
		}
		// What is too short to compress has one encoding, so one envelope.
		if v.Encoding == "bin" && len(v.Data) < 64 && !bytes.Equal(again, v.Container) {
			t.Errorf("%s: ours is %x, want %x", v.Name, again, []byte(v.Container))
		}
	}
	if encodings["bin"] != 12 || encodings["int-array"] != 10 {
		t.Errorf("got %v, want both encodings", encodings)
	}
}

func TestFamilyV2(t *testing.T) {
	for _, v := range loadV2(t).Opens {
		doc, err := container.OpenV2([]byte("> "), v.Container, 0)
		if err != nil || !bytes.Equal(doc, append([]byte("> "), v.Data...)) {
			t.Errorf("%s: got %d bytes, %v", v.Name, len(doc), err)
		}
		again, err := container.AppendV2(nil, v.Data)
		if err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
		if back, err := container.OpenV2(nil, again, len(v.Data)); err != nil || !bytes.Equal(back, v.Data) {
			t.Errorf("%s: ours does not come back: %v", v.Name, err)
		}
		if v.Canonical && v.Method == 0 && !bytes.Equal(again, v.Container) {
			t.Errorf("%s: ours is %x, want %x", v.Name, again, []byte(v.Container))
		}
	}
}

func TestFamilyRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		vectors []vector
		open    func([]byte) error
	}{"ByteStorage": {loadByteStorage(t).Refused, openByteStorage}, "v2": {loadV2(t).Refused, openV2}} {
		for _, v := range tc.vectors {
			want, ok := classes[v.Want]
			if !ok {
				t.Fatalf("%s: unknown class %q", v.Name, v.Want)
			}
			err := tc.open(v.Container)
			if !errors.Is(err, want) || !errors.Is(err, container.ErrMalformed) {
				t.Errorf("%s, %s: got %v, want %v", name, v.Name, err, want)
			}
			if n := allocated(func() { _ = tc.open(v.Container) }); n > 4<<10 {
				t.Errorf("%s, %s: %d bytes were allocated", name, v.Name, n)
			}
		}
	}
}

// The container is sound, the document in it claims what it does not hold.
func TestFamilyDocumentsRefusedInside(t *testing.T) {
	vectors := loadByteStorage(t).DocumentsRefused
	if len(vectors) != 2 {
		t.Fatalf("%d vectors, want 2", len(vectors))
	}
	for _, v := range vectors {
		data, _, err := container.OpenByteStorage(v.Container, 0)
		if err != nil || !bytes.Equal(data, v.Data) {
			t.Errorf("%s: %v", v.Name, err)
		}
		if err := codec.Check(data); !errors.Is(err, codec.ErrTruncated) {
			t.Errorf("%s: got %v, want ErrTruncated", v.Name, err)
		}
	}
}

// allocated returns the bytes that f allocates: the least of some runs, since
// others allocate in this process too.
func allocated(f func()) uint64 {
	least := ^uint64(0)
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}
