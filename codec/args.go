package codec

import (
	"bytes"
	"math"
	"reflect"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/cachekit-io/cachekit-go/internal/mpack"
)

// Set is an argument without order and without duplicates, such as a Python
// set: its elements are sorted by their encoded bytes. It is part of the
// argument model only; values have no sets.
type Set []any

// AppendArgs appends the canonical encoding of a flat argument array
// (spec/interop-mode.md, "The Canonical Argument Array" and "The Interop Data
// Model"), which differs from that of a value: a float with an integral value
// is an integer, a time is a number of seconds, map keys are strings only, and
// sets are allowed. A struct is one map argument; one that would be the same
// argument whatever it holds is refused. The error is a *TypeError whose path
// begins with the argument's position; dst is returned as it was then.
func AppendArgs(dst []byte, args ...any) ([]byte, error) {
	out := mpack.AppendArrayHeader(dst, len(args))
	var e *encoder
	for i, arg := range args {
		var ok bool
		if out, ok = appendPlain(out, arg); ok {
			continue
		}
		if e == nil {
			e = encoderPool.Get().(*encoder)
			defer encoderPool.Put(e)
			*e = encoder{depth: 1, args: true} // the array is a level
		}
		var err error
		if out, err = appendValue(out, arg, e); err != nil {
			return dst, within(argName(i), err)
		}
	}
	return out, nil
}

func argName(i int) string {
	const digits = "0123456789"
	if i < 10 {
		return "argument " + digits[i:i+1]
	}
	return argName(i/10) + digits[i%10:i%10+1]
}

// appendPlain has the usual types without reflection; ok is false for the
// others and for what has to be refused.
func appendPlain(dst []byte, arg any) (out []byte, ok bool) {
	switch x := arg.(type) {
	case nil:
		return mpack.AppendNil(dst), true
	case int:
		return mpack.AppendInt(dst, int64(x)), true
	case int32:
		return mpack.AppendInt(dst, int64(x)), true
	case int64:
		return mpack.AppendInt(dst, x), true
	case uint32:
		return mpack.AppendUint(dst, uint64(x)), true
	case uint64:
		return mpack.AppendUint(dst, x), true
	case bool:
		return mpack.AppendBool(dst, x), true
	case string:
		if utf8.ValidString(x) {
			return mpack.AppendString(dst, x), true
		}
	case []byte:
		if x != nil {
			return mpack.AppendBytes(dst, x), true
		}
	case float64:
		if !math.IsNaN(x) && !math.IsInf(x, 0) {
			return appendNumber(dst, x), true
		}
	case time.Time:
		if out, err := appendTimestamp(dst, x); err == nil {
			return out, true
		}
	}
	return dst, false
}

// appendNumber is the number canonicalisation of arguments: integral floats in
// [-2^63, 2^64) are integers, minus zero among them.
func appendNumber(dst []byte, f float64) []byte {
	const two63, two64 = 1 << 63, 1 << 64
	switch {
	case f != math.Trunc(f) || f < -two63 || f >= two64:
		return mpack.AppendFloat(dst, f)
	case f < 0:
		return mpack.AppendInt(dst, int64(f))
	}
	return mpack.AppendUint(dst, uint64(f))
}

// appendTimestamp is whole microseconds since 1970, rounded down, divided once
// by 10^6 (spec/interop-mode.md, "DateTime determinism").
func appendTimestamp(dst []byte, t time.Time) ([]byte, error) {
	const maxSeconds = 1 << 43 // leaves room for the microseconds in 64 bits
	if s := t.Unix(); s > maxSeconds || s < -maxSeconds {
		return dst, refusal(timeType, "the time is out of range")
	}
	return appendNumber(dst, float64(t.UnixMicro())/1e6), nil
}

func encodeSet(e *encoder, dst []byte, v reflect.Value) ([]byte, error) {
	if !e.args {
		return dst, refusal(setType, "values have no sets: use a slice")
	}
	if err := e.enter(setType); err != nil {
		return dst, err
	}
	defer e.leave()
	set := v.Interface().(Set)
	var encoded []byte
	ends := make([]int, len(set))
	for i, x := range set {
		var err error
		if encoded, err = appendValue(encoded, x, e); err != nil {
			return dst, within("[]", err)
		}
		ends[i] = len(encoded)
	}
	elems, from := make([][]byte, len(set)), 0
	for i, end := range ends {
		elems[i], from = encoded[from:end], end
	}
	slices.SortFunc(elems, bytes.Compare)
	elems = slices.CompactFunc(elems, bytes.Equal)
	out := mpack.AppendArrayHeader(dst, len(elems))
	for _, b := range elems {
		out = append(out, b...)
	}
	return out, nil
}

// opaque reports whether values of the struct type t all encode alike: it has
// fields, and none of them is exported.
func opaque(t reflect.Type, fields []field) bool {
	if len(fields) > 0 {
		return false
	}
	for i := range t.NumField() {
		if f := t.Field(i); !f.IsExported() && f.Name != "_" {
			return true
		}
	}
	return false
}

// promoted reports whether the text of the struct type t may be the text of one
// embedded field, which hides the others: a struct that embeds time.Time, say.
func promoted(t reflect.Type) bool {
	if t.Kind() != reflect.Struct || t.NumField() < 2 {
		return false
	}
	for i := range t.NumField() {
		if f := t.Field(i); f.Anonymous && textual(f.Type) {
			return true
		}
	}
	return false
}
