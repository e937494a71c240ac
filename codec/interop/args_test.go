package interop_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/codec"
	"github.com/cachekit-io/cachekit-go/codec/interop"
)

type (
	moment  time.Time        // a named type has none of time.Time's methods
	hidden  struct{ id int } //nolint:unused // the point is that nothing reads it
	stamped struct {
		time.Time
		ID int
	}
	wrapped struct{ time.Time }
	guarded struct {
		sync.Mutex
		Name string
	}
	ring struct{ Next *ring }
	loop []loop
	cyc  *cyc
)

// failing is a text marshaler that fails with its content.
type failing string

func (f failing) MarshalText() ([]byte, error) { return nil, errors.New(string(f)) }

// What would make one key of different arguments is refused: a wrong hit is the
// wrong user's data.
func TestArgumentsThatWouldShareAKey(t *testing.T) {
	for name, arg := range map[string]any{
		"no exported fields":        hidden{42},
		"pointer to such":           &hidden{42},
		"such in a slice":           []hidden{{42}},
		"such in a field":           struct{ H hidden }{hidden{42}},
		"named time":                moment(time.Unix(1, 0)),
		"error value":               errors.New("x"),
		"context":                   t.Context(),
		"text of an embedded field": stamped{time.Unix(1, 0), 42},
		"such behind a pointer":     &stamped{time.Unix(1, 0), 42},
	} {
		_, err := interop.Key("n", "o", arg)
		var typ *codec.TypeError
		if !errors.As(err, &typ) || !strings.HasPrefix(typ.Path, "argument 0") {
			t.Errorf("%s: got %v, want a TypeError at argument 0", name, err)
		}
	}
	for name, arg := range map[string]any{
		"empty struct":             struct{}{},
		"struct around one time":   wrapped{time.Unix(1, 0)},
		"struct with a mutex":      &guarded{Name: "n"},
		"struct with blank fields": struct{ _ int }{},
	} {
		if _, err := interop.Key("n", "o", arg); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A refusal names the argument and the reason; what it says may reach a log.
func TestRefusalsShowNoValue(t *testing.T) {
	const secret = "hunter2"
	for name, arg := range map[string]any{
		"string": secret + "\xff", "map key": map[string]int{secret + "\xff": 1}, "behind a map key": map[string]any{secret: 1i},
		"marshaler": failing(secret), "number": new(big.Int).Lsh(big.NewInt(7), 90),
		"set": codec.Set{secret, secret + "\xff"}, "in a list": []any{secret, func() {}},
		"user info": struct{ U *url.Userinfo }{url.UserPassword("u", secret)},
	} {
		_, err := interop.Key("n", "o", secret, arg)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err)} {
			if strings.Contains(text, secret) || strings.Contains(text, "8665") || !strings.Contains(text, "argument 1") {
				t.Errorf("%s: %q names a value, or not the argument", name, text)
			}
		}
	}
}

func TestNumbersAtTheEdges(t *testing.T) {
	for _, tc := range []struct {
		arg  any
		want string // "" is a refusal
	}{
		{math.Copysign(0, -1), "9100"},
		{float32(math.Copysign(0, -1)), "9100"},
		{-0x1p63, "91d38000000000000000"},
		{math.Nextafter(-0x1p63, math.Inf(-1)), "91cbc3e0000000000001"},
		{math.Nextafter(0x1p64, 0), "91cffffffffffffff800"},
		{0x1p64, "91cb43f0000000000000"},
		{0x1p63, "91cf8000000000000000"},
		{uint64(math.MaxUint64), "91cfffffffffffffffff"},
		{big.NewInt(math.MinInt64), "91d38000000000000000"},
		{new(big.Int).SetUint64(math.MaxUint64), "91cfffffffffffffffff"},
		{new(big.Int).Lsh(big.NewInt(1), 64), ""},
		{new(big.Int).Sub(big.NewInt(math.MinInt64), big.NewInt(1)), ""},
		{math.NaN(), ""}, {math.Inf(1), ""}, {float32(math.Inf(-1)), ""}, {[]float64{1, math.NaN()}, ""},
		{time.Unix(-1, 123456999).UTC(), "91cbbfec0ca600b02928"}, // rounded down, not to zero
		{time.Time{}, "91d3fffffff1886e0900"},
	} {
		got, err := codec.AppendArgs(nil, tc.arg)
		if tc.want == "" && err == nil || tc.want != "" && (err != nil || fmt.Sprintf("%x", got) != tc.want) {
			t.Errorf("%T %v: got %x, %v; want %s", tc.arg, tc.arg, got, err, tc.want)
		}
	}
}

// Cycles end in an error, at once and however they branch.
func TestCyclesEnd(t *testing.T) {
	r := &ring{}
	r.Next = r
	l := make(loop, 2)
	l[0], l[1] = l, l
	m := map[string]any{}
	m["a"], m["b"] = m, m
	s := make(codec.Set, 2)
	s[0], s[1] = s, s
	var c cyc
	c = &c
	var i any
	i = &i
	for name, arg := range map[string]any{"struct": r, "slice": l, "map": m, "set": s, "pointer": c, "interface": i} {
		if _, err := interop.Key("n", "o", arg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestDepthIsThatOfADocument(t *testing.T) {
	nested := func(levels int) any {
		var v any = []any{}
		for range levels - 1 {
			v = []any{v}
		}
		return v
	}
	// The argument array is a level itself.
	fits, err := codec.AppendArgs(nil, nested(codec.MaxDepth-1))
	if err != nil || codec.Check(fits) != nil {
		t.Errorf("%d levels: %v, %v", codec.MaxDepth, err, codec.Check(fits))
	}
	if _, err := codec.AppendArgs(nil, nested(codec.MaxDepth)); err == nil {
		t.Errorf("%d levels: no error", codec.MaxDepth+1)
	}
}

func TestAppendArgsKeepsDst(t *testing.T) {
	dst := []byte("kept")
	out, err := codec.AppendArgs(dst, 1, "a")
	if err != nil || !bytes.Equal(out, []byte("kept\x92\x01\xa1a")) {
		t.Errorf("got %q, %v", out, err)
	}
	if out, err = codec.AppendArgs(dst, 1, func() {}); err == nil || string(out) != "kept" {
		t.Errorf("on an error got %q, %v", out, err)
	}
	if out, err = codec.AppendArgs(dst); err != nil || string(out) != "kept\x90" {
		t.Errorf("without arguments got %q, %v", out, err)
	}
}

func TestSetsSortEncodedElements(t *testing.T) {
	got, err := codec.AppendArgs(nil, codec.Set{"a", -1, 10, 10.0, []any{1}, nil, true, codec.Set{2, 1}, codec.Set{1, 2}})
	if err != nil || fmt.Sprintf("%x", got) != "91970a9101920102a161c0c3ff" {
		t.Errorf("got %x, %v", got, err)
	}
	if got, err = codec.AppendArgs(nil, codec.Set(nil), codec.Set{}); err != nil || fmt.Sprintf("%x", got) != "929090" {
		t.Errorf("empty sets: got %x, %v", got, err)
	}
}
