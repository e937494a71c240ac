package codec_test

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/cachekit-io/cachekit-go/codec"
)

// FuzzUnmarshal feeds foreign bytes to the reader. Whatever is accepted must be
// accepted by vmihailenco/msgpack too, as the same value, and must have a
// canonical form that is stable.
func FuzzUnmarshal(f *testing.F) {
	for _, seed := range []string{
		"82a36167651ea46e616d65a5616c696365", "93cd002ad2ffffffffcf0000000000000001", "ca3fc00000", "81012a", "d4012a", "c1", "ddffffffff",
		"434b030000004d7b", "82ac5f5f6461746574696d655f5fc3a576616c7565b3323032352d31312d31345431303a33303a3030", strings.Repeat("91", 101) + "c0", "",
	} {
		f.Add(unhex(f, seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v any
		err := codec.Unmarshal(data, &v)
		if checked := codec.Check(data); checked != nil && (err == nil || !errors.Is(err, codec.ErrMalformed)) {
			t.Fatalf("Check says %v, Unmarshal %v", checked, err)
		}
		var typed struct {
			A []int
			B map[string]string
			N *everything
			S string `msgpack:"name"`
		}
		codec.Unmarshal(data, &typed)
		if err != nil {
			return
		}
		doc, err := codec.Marshal(v)
		if err != nil {
			return // NaN, ext and keys that are no strings can be read only
		}
		var again any
		if err := codec.Unmarshal(doc, &again); err != nil {
			t.Fatalf("the canonical form does not read: %v", err)
		}
		if twice, err := codec.Marshal(again); err != nil || !bytes.Equal(doc, twice) {
			t.Fatalf("the canonical form is not stable: %x, then %x (%v)", doc, twice, err)
		}
	})
}

// FuzzAgainstMsgpack compares the writer with an independent reader.
func FuzzAgainstMsgpack(f *testing.F) {
	f.Add(int64(-5), uint64(7), 1.5, "text", []byte("bytes"), true)
	f.Add(int64(-1<<63), uint64(1<<64-1), math.Copysign(0, -1), strings.Repeat("x", 300), []byte{}, false)
	f.Fuzz(func(t *testing.T, i int64, u uint64, fl float64, s string, b []byte, ok bool) {
		type value struct {
			I int64
			U uint64
			F float64
			S string
			B []byte
			M map[string]int64
			L []uint64
			O bool
		}
		in := value{i, u, fl, s, b, map[string]int64{s: i, "k": 1}, []uint64{u, 1}, ok}
		doc, err := codec.Marshal(in)
		if err != nil {
			return
		}
		var theirs, ours value
		if err := msgpack.Unmarshal(doc, &theirs); err != nil {
			t.Fatalf("msgpack does not read it: %v", err)
		}
		if err := codec.Unmarshal(doc, &ours); err != nil {
			t.Fatalf("codec does not read it: %v", err)
		}
		if !reflect.DeepEqual(theirs, ours) {
			t.Fatalf("msgpack reads %+v, codec %+v", theirs, ours)
		}
	})
}
