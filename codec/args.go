package codec

import (
	"bytes"
	"math"
	"reflect"
	"slices"
	"time"

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
// sets are allowed. A struct is one map argument. The error is a *TypeError
// whose path begins with the argument's position; dst is returned as it was
// then.
func AppendArgs(dst []byte, args ...any) ([]byte, error) {
	e := encoder{args: true}
	out := mpack.AppendArrayHeader(dst, len(args))
	e.depth = 4 // the array is a level
	for i, arg := range args {
		var err error
		if out, err = appendArg(out, arg, &e); err != nil {
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

// appendArg has the usual types without reflection.
func appendArg(dst []byte, arg any, e *encoder) ([]byte, error) {
	switch x := arg.(type) {
	case int:
		return mpack.AppendInt(dst, int64(x)), nil
	case int64:
		return mpack.AppendInt(dst, x), nil
	case uint64:
		return mpack.AppendUint(dst, x), nil
	case bool:
		return mpack.AppendBool(dst, x), nil
	case time.Time:
		return appendTimestamp(dst, x)
	}
	return appendValue(dst, arg, e)
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
	var elems [][]byte
	for _, x := range v.Interface().(Set) {
		b, err := appendArg(nil, x, e)
		if err != nil {
			return dst, err
		}
		elems = append(elems, b)
	}
	slices.SortFunc(elems, bytes.Compare)
	elems = slices.CompactFunc(elems, bytes.Equal)
	out := mpack.AppendArrayHeader(dst, len(elems))
	for _, b := range elems {
		out = append(out, b...)
	}
	return out, nil
}
