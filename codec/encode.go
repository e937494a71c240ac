package codec

import (
	"encoding"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/cachekit-io/cachekit-go/internal/mpack"
)

// Marshal returns the document of v in memory of its own. See Append.
func Marshal(v any) ([]byte, error) { return Append(nil, v) }

// Append appends the document of v to dst and returns the extended slice. The
// error is a *TypeError; dst is returned as it was then, though bytes between
// its length and its capacity may have changed. v is only read and not kept.
func Append(dst []byte, v any) ([]byte, error) {
	e := encoderPool.Get().(*encoder)
	defer encoderPool.Put(e)
	*e = encoder{}
	return appendValue(dst, v, e)
}

// encoderPool saves an allocation a document, as decoderPool does.
var encoderPool = sync.Pool{New: func() any { return new(encoder) }}

func appendValue(dst []byte, v any, e *encoder) ([]byte, error) {
	rv := reflect.ValueOf(v)
	if !rv.IsValid() {
		return mpack.AppendNil(dst), nil
	}
	out, err := encoderOf(rv.Type())(e, dst, rv)
	if err != nil {
		return dst, err
	}
	return out, nil
}

// encoder is the state of one Append.
type encoder struct {
	depth    int // arrays and maps that are open
	pointers int // pointers and interfaces that are being followed
	// args selects the profile of interop arguments (package doc of interop).
	args bool
}

// encodeFunc appends one value of the type it was made for.
type encodeFunc func(e *encoder, dst []byte, v reflect.Value) ([]byte, error)

var encoders sync.Map // reflect.Type -> encodeFunc

func encoderOf(t reflect.Type) encodeFunc {
	if f, ok := encoders.Load(t); ok {
		return f.(encodeFunc)
	}
	f := makeEncoder(t)
	encoders.Store(t, f)
	return f
}

var (
	timeType      = reflect.TypeFor[time.Time]()
	dateType      = reflect.TypeFor[Date]()
	timeOfDayType = reflect.TypeFor[TimeOfDay]()
	extType       = reflect.TypeFor[Ext]()
	setType       = reflect.TypeFor[Set]()
	bigIntType    = reflect.TypeFor[big.Int]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
	anyType       = reflect.TypeFor[any]()
)

// special are the structs that are values of their own.
func special(t reflect.Type) bool {
	return t == timeType || t == dateType || t == timeOfDayType || t == extType || textual(t)
}

// textual reports whether values of t are written as their text.
func textual(t reflect.Type) bool {
	return t.Implements(textMarshaler) || t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(textMarshaler)
}

func refusal(t reflect.Type, format string, args ...any) error {
	return &TypeError{Type: t, Reason: fmt.Sprintf(format, args...)}
}

func makeEncoder(t reflect.Type) encodeFunc {
	switch t {
	case timeType:
		return encodeTime
	case dateType, timeOfDayType:
		return encodeTemporal
	case extType:
		return refuseEncoder("an ext value cannot be written: no other SDK of the family would")
	case setType:
		return encodeSet
	case bigIntType:
		return encodeBigInt
	}
	if k := t.Kind(); textual(t) && k != reflect.Pointer && k != reflect.Interface {
		if promoted(t) {
			return encodePromoted
		}
		return encodeText
	}
	switch t.Kind() {
	case reflect.Bool:
		return func(_ *encoder, dst []byte, v reflect.Value) ([]byte, error) {
			return mpack.AppendBool(dst, v.Bool()), nil
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return func(_ *encoder, dst []byte, v reflect.Value) ([]byte, error) {
			return mpack.AppendInt(dst, v.Int()), nil
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return func(_ *encoder, dst []byte, v reflect.Value) ([]byte, error) {
			return mpack.AppendUint(dst, v.Uint()), nil
		}
	case reflect.Float32, reflect.Float64:
		return encodeFloat
	case reflect.String:
		return encodeString
	case reflect.Pointer, reflect.Interface:
		return encodeElem
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 && !textual(t.Elem()) {
			return encodeBytes
		}
		return encodeList(t)
	case reflect.Map:
		return encodeMap(t)
	case reflect.Struct:
		return encodeStruct(t)
	}
	return refuseEncoder("values of this type cannot be stored")
}

func refuseEncoder(reason string) encodeFunc {
	return func(_ *encoder, dst []byte, v reflect.Value) ([]byte, error) {
		return dst, refusal(v.Type(), "%s", reason)
	}
}

func encodeFloat(e *encoder, dst []byte, v reflect.Value) ([]byte, error) {
	f := v.Float()
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return dst, refusal(v.Type(), "NaN and infinities are not part of the format")
	}
	if e.args {
		return appendNumber(dst, f), nil
	}
	return mpack.AppendFloat(dst, f), nil
}

// encodeBigInt writes an integer, not its text: a number is a number whatever
// Go type holds it.
func encodeBigInt(_ *encoder, dst []byte, v reflect.Value) ([]byte, error) {
	n := v.Interface().(big.Int)
	switch {
	case n.IsInt64():
		return mpack.AppendInt(dst, n.Int64()), nil
	case n.IsUint64():
		return mpack.AppendUint(dst, n.Uint64()), nil
	}
	return dst, refusal(bigIntType, "the integer is not between -2^63 and 2^64-1")
}

func encodeString(_ *encoder, dst []byte, v reflect.Value) ([]byte, error) {
	s := v.String()
	if !utf8.ValidString(s) {
		return dst, refusal(v.Type(), "the string is not valid UTF-8: use []byte for binary data")
	}
	return mpack.AppendString(dst, s), nil
}

func encodeBytes(_ *encoder, dst []byte, v reflect.Value) ([]byte, error) {
	if v.Kind() == reflect.Slice {
		if v.IsNil() {
			return mpack.AppendNil(dst), nil
		}
		return mpack.AppendBytes(dst, v.Bytes()), nil
	}
	dst = mpack.AppendBytesHeader(dst, v.Len())
	for i := range v.Len() {
		dst = append(dst, byte(v.Index(i).Uint()))
	}
	return dst, nil
}

func encodeText(_ *encoder, dst []byte, v reflect.Value) ([]byte, error) {
	text, err := marshalText(v)
	if err != nil {
		return dst, err
	}
	return mpack.AppendString(dst, text), nil
}

// encodePromoted is encodeText for values; as arguments, what differs in the
// other fields would share a key.
func encodePromoted(e *encoder, dst []byte, v reflect.Value) ([]byte, error) {
	if e.args {
		return dst, refusal(v.Type(), "its text may be that of an embedded field alone: give its parts as arguments of their own")
	}
	return encodeText(e, dst, v)
}

func marshalText(v reflect.Value) (string, error) {
	if !v.Type().Implements(textMarshaler) {
		p := reflect.New(v.Type())
		p.Elem().Set(v)
		v = p
	}
	text, err := v.Interface().(encoding.TextMarshaler).MarshalText()
	if err != nil {
		return "", refusal(v.Type(), "MarshalText returned an error")
	}
	if !utf8.Valid(text) {
		return "", refusal(v.Type(), "MarshalText returned text that is not valid UTF-8")
	}
	return string(text), nil
}

func encodeElem(e *encoder, dst []byte, v reflect.Value) ([]byte, error) {
	if v.IsNil() {
		return mpack.AppendNil(dst), nil
	}
	// Pointers are no level of a document, but a cycle of them has no end.
	if e.pointers++; e.pointers > maxPointers {
		return dst, refusal(v.Type(), "pointers are nested too deep: a cycle?")
	}
	defer func() { e.pointers-- }()
	v = v.Elem()
	return encoderOf(v.Type())(e, dst, v)
}

// maxPointers leaves room for some at every level of a document.
const maxPointers = 4 * MaxDepth

// enter counts one level of nesting.
func (e *encoder) enter(t reflect.Type) error {
	if e.depth++; e.depth > MaxDepth {
		e.depth--
		return refusal(t, "it is nested deeper than %d levels: a cycle?", MaxDepth)
	}
	return nil
}

func (e *encoder) leave() { e.depth-- }

func encodeList(t reflect.Type) encodeFunc {
	elem := lazyEncoder(t.Elem())
	return func(e *encoder, dst []byte, v reflect.Value) (_ []byte, err error) {
		if v.Kind() == reflect.Slice && v.IsNil() {
			return mpack.AppendNil(dst), nil
		}
		if err := e.enter(t); err != nil {
			return dst, err
		}
		defer e.leave()
		out := mpack.AppendArrayHeader(dst, v.Len())
		f := elem()
		for i := range v.Len() {
			if out, err = f(e, out, v.Index(i)); err != nil {
				return dst, within("[]", err)
			}
		}
		return out, nil
	}
}

// lazyEncoder finds the encoder of an element type when it is first needed,
// which lets types be recursive.
func lazyEncoder(t reflect.Type) func() encodeFunc {
	return sync.OnceValue(func() encodeFunc { return encoderOf(t) })
}

func encodeMap(t reflect.Type) encodeFunc {
	elem := lazyEncoder(t.Elem())
	return func(e *encoder, dst []byte, v reflect.Value) (_ []byte, err error) {
		if v.IsNil() {
			return mpack.AppendNil(dst), nil
		}
		if err := e.enter(t); err != nil {
			return dst, err
		}
		defer e.leave()
		type pair struct {
			key   string
			value reflect.Value
		}
		pairs := make([]pair, 0, v.Len())
		for it := v.MapRange(); it.Next(); {
			key, err := mapKey(it.Key(), e.args)
			if err != nil {
				return dst, err
			}
			pairs = append(pairs, pair{key, it.Value()})
		}
		slices.SortFunc(pairs, func(a, b pair) int { return strings.Compare(a.key, b.key) })
		out := mpack.AppendMapHeader(dst, len(pairs))
		for i, p := range pairs {
			if i > 0 && pairs[i-1].key == p.key {
				return dst, refusal(t, "two keys have the same text")
			}
			if out, err = elem()(e, mpack.AppendString(out, p.key), p.value); err != nil {
				return dst, within("{}", err)
			}
		}
		return out, nil
	}
}

// mapKey returns the text of a map key. Arguments have string keys only
// (spec/interop-mode.md, "The Interop Data Model").
func mapKey(k reflect.Value, args bool) (string, error) {
	for k.Kind() == reflect.Interface && !k.IsNil() {
		k = k.Elem()
	}
	switch {
	case k.Kind() == reflect.String && !textual(k.Type()):
		if !utf8.ValidString(k.String()) {
			return "", refusal(k.Type(), "a map key is not valid UTF-8")
		}
		return k.String(), nil
	case args:
		return "", refusal(k.Type(), "map keys must be strings")
	case textual(k.Type()):
		return marshalText(k)
	case k.CanInt():
		return strconv.FormatInt(k.Int(), 10), nil
	case k.CanUint():
		return strconv.FormatUint(k.Uint(), 10), nil
	}
	return "", refusal(k.Type(), "map keys must be strings, integers or text marshalers")
}

func encodeStruct(t reflect.Type) encodeFunc {
	fields := structFields(t)
	elems := make([]func() encodeFunc, len(fields))
	omits := false
	for i, f := range fields {
		elems[i] = lazyEncoder(f.typ)
		omits = omits || f.omitEmpty || f.omitZero || len(f.index) > 1
	}
	same := opaque(t, fields)
	return func(e *encoder, dst []byte, v reflect.Value) (_ []byte, err error) {
		if same {
			return dst, refusal(t, "it has no exported fields: nothing of it would be stored")
		}
		if err := e.enter(t); err != nil {
			return dst, err
		}
		defer e.leave()
		n := len(fields)
		if omits {
			for i := range fields {
				if _, ok := fields[i].of(v); !ok {
					n--
				}
			}
		}
		out := mpack.AppendMapHeader(dst, n)
		for i := range fields {
			f := &fields[i]
			fv, ok := f.of(v)
			if !ok {
				continue
			}
			if out, err = elems[i]()(e, append(out, f.header...), fv); err != nil {
				return dst, within(f.name, err)
			}
		}
		return out, nil
	}
}

// of returns the field of v, and whether it is written.
func (f *field) of(v reflect.Value) (reflect.Value, bool) {
	if len(f.index) == 1 {
		v = v.Field(f.index[0])
	} else {
		var err error
		if v, err = v.FieldByIndexErr(f.index); err != nil {
			return v, false // behind a nil embedded pointer
		}
	}
	return v, !(f.omitEmpty && isEmpty(v) || f.omitZero && isZero(v))
}
