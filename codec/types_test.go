package codec_test

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/codec"
)

type node struct {
	Name string  `msgpack:"name"`
	Next *node   `msgpack:"next"`
	Kids []*node `msgpack:"kids"`
}

// namedTime has none of the methods of time.Time, and no exported field.
type namedTime time.Time

func TestTypesThatCannotBeStored(t *testing.T) {
	loop := &node{Name: "a"}
	loop.Next = loop
	type self []any
	cyclic := make(self, 1)
	cyclic[0] = cyclic
	var pointers any
	pointers = &pointers
	deep := any(1)
	for range codec.MaxDepth + 1 {
		deep = []any{deep}
	}
	for name, v := range map[string]any{
		"channel": make(chan int), "function": func() {}, "complex": 1i, "nested channel": []any{map[string]any{"a": make(chan int)}},
		"NaN": math.NaN(), "infinity": math.Inf(-1), "float32 NaN": float32(math.NaN()),
		"string that is not UTF-8": "\xff", "key that is not UTF-8": map[string]int{"\xff": 1},
		"struct keys": map[struct{ A int }]int{{1}: 1}, "float keys": map[float64]int{1: 1},
		"a list that is its own element": loop, "a slice that is its own element": cyclic, "a pointer to itself": pointers,
		"one level too deep": deep, "a struct without exported fields": struct{ a int }{1}, "a named time": namedTime(instant), "ext": codec.Ext{Type: 1}, "set": codec.Set{1},
		"year 10000": time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), "no date": codec.Date{}, "31 February": codec.Date{Year: 2024, Month: 2, Day: 31},
		"25 o'clock": codec.TimeOfDay{Hour: 25}, "two keys of one text": map[any]int{1: 1, "1": 2},
	} {
		dst := []byte("kept")
		out, err := codec.Append(dst, v)
		var typ *codec.TypeError
		if !errors.As(err, &typ) || string(out) != "kept" {
			t.Errorf("%s: got %q, %v; want a TypeError and dst as it was", name, out, err)
		}
	}
}

func TestValuesThatDoNotFit(t *testing.T) {
	secret := "s3cret-value"
	for _, tc := range []struct {
		name  string
		value any
		dst   any
		path  string
	}{
		{"string into int", secret, new(int), ""},
		{"int into string", 12345678, new(string), ""},
		{"300 into uint8", 300, new(uint8), ""},
		{"-1 into uint", -1, new(uint), ""},
		{"128 into int8", 128, new(int8), ""},
		{"2^63 into int64", uint64(1 << 63), new(int64), ""},
		{"float into int", 2.0, new(int), ""},
		{"2^53+1 into float", 1<<53 + 1, new(float64), ""},
		{"1e300 into float32", 1e300, new(float32), ""},
		{"map into slice", map[string]int{secret: 1}, new([]int), ""},
		{"array into struct", []int{1}, new(node), ""},
		{"a field", map[string]any{"name": 1}, new(node), "name"},
		{"a field within", map[string]any{"kids": []any{map[string]any{"name": true}}}, new(node), "kids.[].name"},
		{"array of another length", []int{1, 2}, new([3]int), ""},
		{"bytes of another length", []byte{1, 2}, new([3]byte), ""},
		{"numbers over 255 into bytes", []int{1, 256}, new([]byte), ""},
		{"text into a time", secret, new(time.Time), ""},
		{"a date into a time of day", codec.Date{Year: 2024, Month: 1, Day: 1}, new(codec.TimeOfDay), ""},
		{"key that is no number", map[string]int{secret: 1}, new(map[int]int), ""},
		{"key out of range", map[string]int{"300": 1}, new(map[int8]int), ""},
		{"an interface with methods", 1, new(error), ""},
		{"a channel", 1, new(chan int), ""},
		{"no pointer", 1, 5, ""},
		{"a nil pointer", 1, (*int)(nil), ""},
		{"no destination", 1, nil, ""},
	} {
		doc, err := codec.Marshal(tc.value)
		if err != nil {
			t.Fatal(err)
		}
		err = codec.Unmarshal(doc, tc.dst)
		var typ *codec.TypeError
		if !errors.As(err, &typ) || typ.Path != tc.path {
			t.Errorf("%s: got %v, want a TypeError at %q", tc.name, err, tc.path)
			continue
		}
		if errors.Is(err, codec.ErrMalformed) || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "12345678") {
			t.Errorf("%s: wrong class, or the error shows the value: %v", tc.name, err)
		}
	}
}

func TestReadersAreLenientWithoutLoss(t *testing.T) {
	for _, tc := range []struct {
		name  string
		value any
		want  any
	}{
		{"integer into float", 2, 2.0},
		{"negative integer into float32", -7, float32(-7)},
		{"array of integers into bytes", []int{1, 2, 255}, []byte{1, 2, 255}},
		{"string into bytes", "abc", []byte("abc")},
		{"bytes into string", []byte("abc"), "abc"},
		{"nil into int", nil, 0},
		{"nil into struct", nil, node{}},
		{"date into time", codec.Date{Year: 2024, Month: 2, Day: 29}, time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC)},
		{"text into time", "2024-02-29T01:02:03.5+02:00", time.Date(2024, 2, 29, 1, 2, 3, 5e8, time.FixedZone("", 7200))},
		{"unknown fields", map[string]any{"name": "n", "unknown": []any{1, map[string]any{"x": 1}}}, node{Name: "n"}},
	} {
		doc, err := codec.Marshal(tc.value)
		if err != nil {
			t.Fatal(err)
		}
		got := reflect.New(reflect.TypeOf(tc.want))
		if err := codec.Unmarshal(doc, got.Interface()); err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		same := reflect.DeepEqual(got.Elem().Interface(), tc.want)
		if want, ok := tc.want.(time.Time); ok {
			same = got.Elem().Interface().(time.Time).Equal(want)
		}
		if !same {
			t.Errorf("%s: got %#v, want %#v", tc.name, got.Elem(), tc.want)
		}
	}
}

// Documents of others may have their keys in any order, form and number: fields
// are what the last of a name says, and what no key names becomes zero.
func TestFieldsInAnyOrder(t *testing.T) {
	type pair struct{ A, B int }
	var d codec.Decoder
	for doc, want := range map[string]pair{
		"82a14101a14202":       {1, 2},
		"82a14202a14101":       {1, 2},
		"82d9014101da00014202": {1, 2}, // headers that are longer than they must be
		"82c4014101a14202":     {0, 2}, // bin is no name
		"82a14101a14103":       {3, 0},
		"83a14101a14202a14103": {3, 2},
		"83a14101a1ff07a14202": {1, 2},
		"81a14202":             {0, 2},
		"81a14101":             {1, 0},
		"8207a141a14101":       {1, 0},
		"83a14101a14202a14302": {1, 2},
		"82a2414205a14101":     {1, 0}, // a name that begins with a field's
		"82a141c0a14202":       {0, 2},
		"80":                   {},
	} {
		got := pair{8, 9}
		if err := d.Unmarshal(unhex(t, doc), &got); err != nil || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", doc, got, err, want)
		}
	}
	var text string
	if err := d.Unmarshal(unhex(t, "a141"), &text); err != nil || text != "A" {
		t.Errorf("a decoder that had another type before: %q, %v", text, err)
	}
}

type everything struct {
	A []byte
	B []int
	C map[string]int
	D *int
	E string
	F any
	G [2]int
	H time.Time
	I struct{ X, Y int }
}

// Decoding is assignment: nothing of the destination's former value may show,
// or one user's data would appear in another's.
func TestNothingOfTheFormerValueStays(t *testing.T) {
	n := 7
	for name, doc := range map[string]any{
		"no fields":  map[string]any{},
		"all nil":    map[string]any{"A": nil, "B": nil, "C": nil, "D": nil, "E": nil, "F": nil, "G": nil, "H": nil, "I": nil},
		"other keys": map[string]any{"Z": 1},
	} {
		dst := everything{[]byte("old"), []int{1, 2}, map[string]int{"a": 1}, &n, "old", "old", [2]int{1, 2}, instant, struct{ X, Y int }{1, 2}}
		b, _ := codec.Marshal(doc)
		if err := codec.Unmarshal(b, &dst); err != nil || !reflect.DeepEqual(dst, everything{}) {
			t.Errorf("%s: left %+v (%v)", name, dst, err)
		}
	}
	dst := everything{A: []byte("longer"), B: []int{1, 2, 3}, C: map[string]int{"a": 1}}
	b, _ := codec.Marshal(map[string]any{"A": []byte("x"), "B": []int{9}, "C": map[string]int{"b": 2}, "I": map[string]int{"Y": 1}})
	if err := codec.Unmarshal(b, &dst); err != nil {
		t.Fatal(err)
	}
	if string(dst.A) != "x" || !reflect.DeepEqual(dst.B, []int{9}) || !reflect.DeepEqual(dst.C, map[string]int{"b": 2}) || dst.I.X != 0 {
		t.Errorf("left %+v", dst)
	}
	kids := []*node{{Name: "old", Next: &node{}}, {Name: "old"}}
	k := struct{ Kids []node }{[]node{{Name: "old", Next: kids[0]}, {Name: "old"}}}
	b, _ = codec.Marshal(map[string]any{"Kids": []any{map[string]any{}, map[string]any{"name": "new"}}})
	if err := codec.Unmarshal(b, &k); err != nil || k.Kids[0].Name != "" || k.Kids[0].Next != nil || k.Kids[1].Name != "new" {
		t.Errorf("elements keep %+v (%v)", k, err)
	}
}

func TestMemoryOfTheDestinationIsReused(t *testing.T) {
	v := newItem(1024)
	doc, err := codec.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	out := item{Body: make([]byte, 0, 4096), Name: v.Name}
	first := &out.Body[:1][0]
	if n := testing.AllocsPerRun(100, func() {
		if err := codec.Unmarshal(doc, &out); err != nil {
			t.Fatal(err)
		}
	}); n >= 1 {
		t.Errorf("%v allocations into a reused struct, want none", n)
	}
	if &out.Body[0] != first || !reflect.DeepEqual(out, v) {
		t.Error("the body was not decoded into the memory it had")
	}
	clear(doc)
	if !reflect.DeepEqual(out, v) {
		t.Error("the value refers to the document")
	}
	buf := make([]byte, 0, 2048)
	if n := testing.AllocsPerRun(100, func() { codec.Append(buf, &v) }); n >= 1 {
		t.Errorf("%v allocations to encode into a buffer, want none", n)
	}
}

func TestRecursiveTypes(t *testing.T) {
	in := node{"a", &node{Name: "b"}, []*node{{Name: "c"}, nil}}
	doc, err := codec.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out node
	if err := codec.Unmarshal(doc, &out); err != nil || !reflect.DeepEqual(in, out) {
		t.Errorf("got %+v, %v", out, err)
	}
}
