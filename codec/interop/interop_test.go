package interop_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/codec"
	"github.com/cachekit-io/cachekit-go/codec/interop"
)

type vector struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Operation string `json:"operation"`
	Args      []any  `json:"args"`
	Canonical string `json:"canonical_args_hex"`
	Key       string `json:"expected_key"`
}

func vectors(t testing.TB) (keys, refused []vector) {
	t.Helper()
	text, err := os.ReadFile("testdata/keys.json")
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Keys, Errors []vector }
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&all); err != nil {
		t.Fatal(err)
	}
	if len(all.Keys) != 44 || len(all.Errors) != 34 {
		t.Fatalf("%d and %d vectors, want 44 and 34", len(all.Keys), len(all.Errors))
	}
	return all.Keys, all.Errors
}

// uuid is a UUID type as Go programs have them.
type uuid [16]byte

func (u uuid) MarshalText() ([]byte, error) {
	text := make([]byte, 0, 36)
	for i, b := range u {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			text = append(text, '-')
		}
		text = hex.AppendEncode(text, []byte{b})
	}
	return text, nil
}

// untag turns the tagged JSON of the vectors into Go values. ok is false for
// what Go has no value for: a date and time without an offset.
func untag(t testing.TB, v any) (out any, ok bool) {
	t.Helper()
	switch x := v.(type) {
	case json.Number:
		n, err := x.Int64()
		if err != nil {
			t.Fatal(err)
		}
		return n, true
	case []any:
		list := make([]any, len(x))
		for i, e := range x {
			if list[i], ok = untag(t, e); !ok {
				return nil, false
			}
		}
		return list, true
	case map[string]any:
		if len(x) == 1 {
			for tag, arg := range x {
				if strings.HasPrefix(tag, "$") {
					return untagOne(t, tag, arg)
				}
			}
		}
		m := make(map[string]any, len(x))
		for k, e := range x {
			if m[k], ok = untag(t, e); !ok {
				return nil, false
			}
		}
		return m, true
	}
	return v, true
}

func untagOne(t testing.TB, tag string, arg any) (any, bool) {
	t.Helper()
	text, _ := arg.(string)
	switch tag {
	case "$set":
		list, ok := untag(t, arg)
		if !ok {
			return nil, false
		}
		return codec.Set(list.([]any)), true
	case "$bytes":
		b, err := hex.DecodeString(text)
		return b, err == nil
	case "$datetime":
		at, err := time.Parse(time.RFC3339Nano, text)
		return at, err == nil
	case "$uuid":
		var u uuid
		_, err := hex.Decode(u[:], []byte(strings.ReplaceAll(text, "-", "")))
		return u, err == nil
	case "$float":
		f, _ := strconv.ParseFloat(text, 64)
		return f, true
	case "$int":
		n, ok := new(big.Int).SetString(text, 10)
		return n, ok
	}
	t.Fatalf("unknown tag %s", tag)
	return nil, false
}

func TestFamilyKeys(t *testing.T) {
	keys, _ := vectors(t)
	for _, v := range keys {
		args, ok := untag(t, v.Args)
		if !ok {
			t.Fatalf("%s: not a Go value", v.Name)
		}
		canonical, err := codec.AppendArgs(nil, args.([]any)...)
		if err != nil || hex.EncodeToString(canonical) != v.Canonical {
			t.Errorf("%s: got %x, %v; want %s", v.Name, canonical, err, v.Canonical)
		}
		if got, err := interop.Key(v.Namespace, v.Operation, args.([]any)...); err != nil || got != v.Key {
			t.Errorf("%s: got %s, %v; want %s", v.Name, got, err, v.Key)
		}
	}
}

func TestFamilyRefusals(t *testing.T) {
	_, refused := vectors(t)
	naive := 0
	for _, v := range refused {
		args, ok := untag(t, v.Args)
		if !ok {
			naive++ // a time.Time always has an offset
			continue
		}
		if strings.HasPrefix(v.Name, "reject_nan") || v.Namespace == "" && v.Operation == "" {
			v.Namespace, v.Operation = "n", "o"
		}
		_, err := interop.Key(v.Namespace, v.Operation, args.([]any)...)
		var typ *codec.TypeError
		if !errors.Is(err, interop.ErrSegment) && !errors.Is(err, interop.ErrReserved) && !errors.As(err, &typ) {
			t.Errorf("%s: got %v, want a refusal", v.Name, err)
		}
		if err != nil && len(v.Namespace) > 20 && strings.Contains(err.Error(), v.Namespace) {
			t.Errorf("%s: the error repeats the segment", v.Name)
		}
	}
	if naive != 2 {
		t.Errorf("%d vectors without a Go value, want the 2 naive dates", naive)
	}
}

func TestGoTypesOfOneArgumentMakeOneKey(t *testing.T) {
	type id int
	type name string
	type query struct {
		Name  string `json:"name"`
		Limit int    `msgpack:"limit"`
		skip  int
	}
	five, text := 5, "x"
	for _, group := range [][]any{
		{5, int8(5), int64(5), uint16(5), 5.0, float32(5), id(5), &five, big.NewInt(5), time.Unix(5, 999)},
		{"x", name("x"), &text},
		{nil, (*int)(nil), []byte(nil), []int(nil), map[string]int(nil)},
		{[]byte("ab"), [2]byte{'a', 'b'}},
		{[]any{1, "a"}, [2]any{1.0, "a"}},
		{query{Name: "n", Limit: 3, skip: 9}, map[string]any{"limit": 3, "name": "n"}, &query{"n", 3, 1}},
		{codec.Set{1, 2, 2.0, "a"}, codec.Set{"a", 2, 1}},
		{uuid{0xab}, "ab000000-0000-0000-0000-000000000000"},
		{time.Unix(0, 1_500_000_000), time.Unix(0, 1_500_000_999).UTC(), 1.5},
	} {
		want, err := interop.Key("n", "o", group[0])
		if err != nil {
			t.Errorf("%T: %v", group[0], err)
			continue
		}
		for _, arg := range group[1:] {
			if got, err := interop.Key("n", "o", arg); err != nil || got != want {
				t.Errorf("%T makes another key than %T (%v)", arg, group[0], err)
			}
		}
	}
	if a, b := mustKey(t, []any{1, 2}), mustKey(t, 1, 2); a == b {
		t.Error("one list argument makes the key of two arguments")
	}
}

func mustKey(t testing.TB, args ...any) string {
	t.Helper()
	key, err := interop.Key("n", "o", args...)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestArgumentsOutsideTheModel(t *testing.T) {
	for name, arg := range map[string]any{
		"channel": make(chan int), "function": func() {}, "complex": 1i, "integer keys": map[int]int{1: 1},
		"date": codec.Date{Year: 2024, Month: 1, Day: 1}, "time of day": codec.TimeOfDay{}, "ext": codec.Ext{}, "bad UTF-8": "\xff",
		"bad UTF-8 key": map[string]int{"\xff": 1}, "far future": time.Unix(1<<60, 0), "key of an interface type": map[any]int{1: 1},
	} {
		_, err := interop.Key("n", "o", "fine", arg)
		var typ *codec.TypeError
		if !errors.As(err, &typ) || !strings.HasPrefix(typ.Path, "argument 1") {
			t.Errorf("%s: got %v, want a TypeError at argument 1", name, err)
		}
	}
}

// FuzzSegments puts text in place of a namespace and an operation. What is taken
// makes a key of three parts, which nothing else makes.
func FuzzSegments(f *testing.F) {
	good, refused := vectors(f)
	for _, v := range append(good, refused...) {
		f.Add(v.Namespace, v.Operation)
	}
	f.Fuzz(func(t *testing.T, namespace, operation string) {
		key, err := interop.Key(namespace, operation, 1)
		if err != nil {
			if !errors.Is(err, interop.ErrSegment) && !errors.Is(err, interop.ErrReserved) {
				t.Errorf("an error without a class: %v", err)
			}
			return
		}
		parts := strings.Split(key, ":")
		if len(parts) != 3 || parts[0] != namespace || parts[1] != operation || len(parts[2]) != 64 {
			t.Errorf("Key(%q, %q) = %q", namespace, operation, key)
		}
	})
}

func FuzzKeyIsDeterministic(f *testing.F) {
	f.Add("a", int64(1), 1.0, []byte{1}, true)
	f.Fuzz(func(t *testing.T, s string, i int64, fl float64, b []byte, ok bool) {
		args := []any{s, i, fl, b, ok, map[string]any{s: i, "k": []any{fl}}, codec.Set{s, i, fl}}
		one, err1 := codec.AppendArgs(nil, args...)
		two, err2 := codec.AppendArgs([]byte("x"), args...)
		if (err1 == nil) != (err2 == nil) || err1 == nil && !bytes.Equal(one, two[1:]) {
			t.Fatalf("%x, then %x (%v, %v)", one, two, err1, err2)
		}
		if err1 == nil && codec.Check(one) != nil {
			t.Fatal("the canonical arguments are no document")
		}
	})
}
