package codec_test

import (
	"encoding/hex"
	"errors"
	"math"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/codec"
)

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var instant = time.Date(2024, 1, 1, 12, 30, 45, 123456000, time.UTC)

// The documents marked "family" are published values (interop-mode.json,
// wire-format.json); the others follow from the MessagePack specification.
func TestDocuments(t *testing.T) {
	type user struct {
		Name string `msgpack:"name"`
		Age  int    `json:"age"`
	}
	type base struct{ B, A int }
	for _, tc := range []struct {
		name  string
		value any
		doc   string
	}{
		{"family: a map", map[string]any{"name": "alice", "age": 30}, "82a36167651ea46e616d65a5616c696365"},
		{"family: the same as a struct, fields sorted", user{"alice", 30}, "82a36167651ea46e616d65a5616c696365"},
		{"family: a float stays a float", 2.0, "cb4000000000000000"},
		{"family: a mixed array", []any{1, "two", 3.5, nil, true}, "9501a374776fcb400c000000000000c0c3"},
		{"family: a time", instant, "82ac5f5f6461746574696d655f5fc3a576616c7565d920323032342d30312d30315431323a33303a34352e3132333435362b30303a3030"},
		{"family: whole seconds have no fraction", time.Date(2025, 11, 14, 10, 30, 0, 0, time.UTC), "82ac5f5f6461746574696d655f5fc3a576616c7565b9323032352d31312d31345431303a33303a30302b30303a3030"},
		{"family: a date", codec.Date{Year: 2025, Month: 11, Day: 14}, "82a85f5f646174655f5fc3a576616c7565aa323032352d31312d3134"},
		{"family: a time of day", codec.TimeOfDay{Hour: 10, Minute: 30}, "82a85f5f74696d655f5fc3a576616c7565a831303a33303a3030"},
		{"family: a reserved JavaScript name", map[string]int{"__proto__": 1}, "81a95f5f70726f746f5f5f01"},
		{"nil", nil, "c0"},
		{"bytes", []byte{0xde, 0xad}, "c402dead"},
		{"a byte array", [2]byte{0xde, 0xad}, "c402dead"},
		{"empty bytes", []byte{}, "c400"},
		{"nil slice", []int(nil), "c0"},
		{"embedded fields", struct {
			base
			C int
		}{base{2, 1}, 3}, "83a14101a14202a14303"},
		{"omitempty", struct {
			A int `msgpack:"a,omitempty"`
			B int `msgpack:"-"`
			C string
		}{}, "81a143a0"},
		{"integer keys", map[int]bool{10: true, -1: false}, "82a22d31c2a23130c3"},
		{"text marshaler", netip.MustParseAddr("::1"), "a33a3a31"},
		{"float32 widens", float32(1.5), "cb3ff8000000000000"},
		{"0", 0, "00"}, {"127", 127, "7f"}, {"128", 128, "cc80"}, {"256", 256, "cd0100"}, {"65536", 65536, "ce00010000"},
		{"2^32", 1 << 32, "cf0000000100000000"}, {"2^64-1", uint64(math.MaxUint64), "cfffffffffffffffff"},
		{"-1", -1, "ff"}, {"-32", -32, "e0"}, {"-33", -33, "d0df"}, {"-129", -129, "d1ff7f"}, {"-32769", -32769, "d2ffff7fff"},
		{"-2^31-1", -1<<31 - 1, "d3ffffffff7fffffff"}, {"-2^63", math.MinInt64, "d38000000000000000"},
		{"31 characters", strings.Repeat("a", 31), "bf" + strings.Repeat("61", 31)},
		{"32 characters", strings.Repeat("a", 32), "d920" + strings.Repeat("61", 32)},
		{"256 characters", strings.Repeat("a", 256), "da0100" + strings.Repeat("61", 256)},
		{"65536 characters", strings.Repeat("a", 65536), "db00010000" + strings.Repeat("61", 65536)},
		{"16 elements", make([]bool, 16), "dc0010" + strings.Repeat("c2", 16)},
		{"65536 elements", make([]bool, 65536), "dd00010000" + strings.Repeat("c2", 65536)},
		{"65536 bytes", make([]byte, 65536), "c600010000" + strings.Repeat("00", 65536)},
	} {
		got, err := codec.Marshal(tc.value)
		if err != nil || hex.EncodeToString(got) != tc.doc {
			t.Errorf("%s: got %.200x, %v; want %.200s", tc.name, got, err, tc.doc)
		}
		if err := codec.Check(unhex(t, tc.doc)); err != nil {
			t.Errorf("%s: does not check: %v", tc.name, err)
		}
		if tc.value == nil {
			continue
		}
		back := reflect.New(reflect.TypeOf(tc.value))
		if err := codec.Unmarshal(unhex(t, tc.doc), back.Interface()); err != nil {
			t.Errorf("%s: does not come back: %v", tc.name, err)
			continue
		}
		if again, err := codec.Marshal(back.Elem().Interface()); err != nil || hex.EncodeToString(again) != tc.doc {
			t.Errorf("%s: came back as another value", tc.name)
		}
	}
}

func TestReadersAcceptEveryWellFormedDocument(t *testing.T) {
	for doc, want := range map[string]any{
		"93cd002ad2ffffffffcf0000000000000001":   []any{int64(42), int64(-1), int64(1)},
		"dc0003d903616263de0001a16101c50002dead": []any{"abc", map[string]any{"a": int64(1)}, []byte{0xde, 0xad}},
		"82a16202a16101":                         map[string]any{"a": int64(1), "b": int64(2)},
		"ca3fc00000":                             1.5,
		"81012a":                                 map[any]any{int64(1): int64(42)},
		"82a161010102":                           map[any]any{"a": int64(1), int64(1): int64(2)},
		"d4012a":                                 codec.Ext{Type: 1, Data: []byte{0x2a}},
		"d6ff00000000":                           codec.Ext{Type: -1, Data: []byte{0, 0, 0, 0}},
		"c70301010203":                           codec.Ext{Type: 1, Data: []byte{1, 2, 3}},
		"cfffffffffffffffff":                     uint64(math.MaxUint64),
		"82a16101a16102":                         map[string]any{"a": int64(2)},
		"90":                                     []any{},
		"80":                                     map[string]any{},
		"c400":                                   []byte{},
		"c3":                                     true,
		"82a576616c7565aa323032352d31312d3134a85f5f646174655f5fc3":                                 codec.Date{Year: 2025, Month: 11, Day: 14},
		"82ac5f5f6461746574696d655f5fc3a576616c7565b4323032352d31312d31345431303a33303a30305a":     time.Date(2025, 11, 14, 10, 30, 0, 0, time.UTC),
		"82ac5f5f6461746574696d655f5fc3a576616c7565b3323032352d31312d31345431303a33303a3030":       time.Date(2025, 11, 14, 10, 30, 0, 0, time.UTC),
		"82ac5f5f6461746574696d655f5fc2a576616c7565b3323032352d31312d31345431303a33303a3030":       map[string]any{"__datetime__": false, "value": "2025-11-14T10:30:00"},
		"82ac5f5f6461746574696d655f5fc3a576616c7565a27878":                                         map[string]any{"__datetime__": true, "value": "xx"},
		"83ac5f5f6461746574696d655f5fc3a576616c7565b3323032352d31312d31345431303a33303a3030a16101": map[string]any{"__datetime__": true, "value": "2025-11-14T10:30:00", "a": int64(1)},
	} {
		var got any
		if err := codec.Unmarshal(unhex(t, doc), &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %#v, %v; want %#v", doc, got, err, want)
		}
	}
}

func TestMalformedDocuments(t *testing.T) {
	for _, tc := range []struct {
		rule, doc string
		want      error
	}{
		{"nothing is no document", "", codec.ErrTruncated},
		{"one document, no more", "82a36167651ea46e616d65a5616c69636500", codec.ErrTrailing},
		{"a Python frame is named", "434b030000004d7b2273223a202264656661756c74227d", codec.ErrPythonFrame},
		{"the reserved marker", "c1", codec.ErrMarker},
		{"the reserved marker inside", "91c1", codec.ErrMarker},
		{"a v2 container is no v1 value", "c1029300c0c400", codec.ErrMarker},
		{"array32 claims 2^32-1", "ddffffffff", codec.ErrTruncated},
		{"map32 claims 2^32-1", "dfffffffff", codec.ErrTruncated},
		{"map32 whose doubled claim wraps 32 bits", "df80000000", codec.ErrTruncated},
		{"sums that wrap 32 bits", "ddffffffffdd00000001", codec.ErrTruncated},
		{"bin32 claims 2^32-1", "c6ffffffff41", codec.ErrTruncated},
		{"str32 claims 2^32-1", "dbffffffff41", codec.ErrTruncated},
		{"ext32 claims 2^32-1", "c9ffffffff0541", codec.ErrTruncated},
		{"array one short", "95c0c0c0c0", codec.ErrTruncated},
		{"map one short", "81c0", codec.ErrTruncated},
		{"each header fits, the sum does not", strings.Repeat("dc07d0", 30) + strings.Repeat("c0", 2000), codec.ErrTruncated},
		{"incomplete within the budget", "92dc0000", codec.ErrTruncated},
		{"depth 100 is the deepest", strings.Repeat("91", 101) + "c0", codec.ErrDepth},
		{"an empty array is a level", strings.Repeat("91", 100) + "90", codec.ErrDepth},
		{"a cut length prefix", "da01", codec.ErrTruncated},
		{"a cut number", "cb40000000", codec.ErrTruncated},
	} {
		doc := unhex(t, tc.doc)
		if err := codec.Check(doc); !errors.Is(err, tc.want) || !errors.Is(err, codec.ErrMalformed) {
			t.Errorf("%s: got %v, want %v", tc.rule, err, tc.want)
		}
		var out any
		if err := codec.Unmarshal(doc, &out); !errors.Is(err, tc.want) {
			t.Errorf("%s: Unmarshal got %v, want %v", tc.rule, err, tc.want)
		}
	}
	for _, doc := range []string{strings.Repeat("91", 100) + "c0", strings.Repeat("81a0", 100) + "c0", strings.Repeat("91", 32) + "c0"} {
		if err := codec.Check(unhex(t, doc)); err != nil {
			t.Errorf("within the bounds, got %v", err)
		}
	}
	for _, doc := range []string{"a1ff", "81a1ff01", "91a2c328"} {
		var s any
		if err := codec.Unmarshal(unhex(t, doc), &s); !errors.Is(err, codec.ErrUTF8) {
			t.Errorf("%s: got %v, want ErrUTF8", doc, err)
		}
	}
}

func TestHostileDocumentsAllocateLittle(t *testing.T) {
	for _, doc := range []string{"ddffffffff", strings.Repeat("dc07d0", 2048), "dd0000157c" + strings.Repeat("dd0000157c", 1099), "c6ffffffff41", strings.Repeat("91", 100_000)} {
		b := unhex(t, doc)
		var out any
		if n := testing.AllocsPerRun(10, func() { codec.Unmarshal(b, &out) }); n > 1 {
			t.Errorf("%.20s...: %v allocations before the refusal", doc, n)
		}
	}
	// Backed elements of a large type: memory follows what was read.
	type big struct{ _ [4096]byte }
	doc := append([]byte{0xdd, 0, 1, 0, 0}, make([]byte, 65536)...)
	var out []big
	if err := codec.Unmarshal(doc, &out); err == nil || cap(out) > 64 {
		t.Errorf("%d large elements were allocated for a document of small ones (%v)", cap(out), err)
	}
}
