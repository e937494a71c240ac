package codec

import (
	"encoding"
	"math"
	"math/big"
	"reflect"
	"sync"
	"sync/atomic"
	"unicode/utf8"
)

// Unmarshal stores the value of the document data in dst, a non-nil pointer.
// The package documentation says what fits what, and what of *dst is reused.
// data may be changed as soon as Unmarshal returns. After an error *dst is
// undefined; the error is ErrMalformed for one of its reasons, or a *TypeError.
func Unmarshal(data []byte, dst any) error {
	d := decoderPool.Get().(*Decoder)
	defer decoderPool.Put(d)
	return d.Unmarshal(data, dst)
}

var decoderPool = sync.Pool{New: func() any { return new(Decoder) }}

// Decoder is what decoding needs of memory, for callers that keep it from one
// document to the next, with other things of theirs. Its zero value is ready. It
// is not safe for concurrent use.
type Decoder struct {
	d   decoder
	typ reflect.Type // the last destination's, and how to decode it
	f   decodeFunc
}

// Unmarshal is the function of that name.
func (d *Decoder) Unmarshal(data []byte, dst any) error {
	p := reflect.ValueOf(dst)
	if p.Kind() != reflect.Pointer || p.IsNil() {
		return refusal(p2type(p), "the destination must be a non-nil pointer")
	}
	if err := Check(data); err != nil {
		return err
	}
	v := p.Elem()
	if t := v.Type(); t != d.typ {
		d.typ, d.f = t, decoderOf(t)
	}
	d.d.data, d.d.pos = data, 0
	err := d.d.value(d.f, v)
	d.d.data = nil
	return err
}

func p2type(p reflect.Value) reflect.Type {
	if !p.IsValid() {
		return nil
	}
	return p.Type()
}

// decodeFunc reads one value that is not nil into v, of the type it was made for.
type decodeFunc func(d *decoder, v reflect.Value) error

var (
	decoders        sync.Map // reflect.Type -> decodeFunc
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func decoderOf(t reflect.Type) decodeFunc {
	if f, ok := decoders.Load(t); ok {
		return f.(decodeFunc)
	}
	f := makeDecoder(t)
	decoders.Store(t, f)
	return f
}

// lazy decodes values of a type by a function that is made when it is first
// needed, because types may contain themselves.
type lazy struct {
	typ  reflect.Type
	plan atomic.Pointer[decodeFunc]
}

func (l *lazy) decode(d *decoder, v reflect.Value) error {
	f := l.plan.Load()
	if f == nil {
		made := decoderOf(l.typ)
		f = &made
		l.plan.Store(f)
	}
	return d.value(*f, v)
}

// value reads one value into v by f, which is for v's type. Nil is the zero value
// of every type.
func (d *decoder) value(f decodeFunc, v reflect.Value) error {
	if d.data[d.pos] == 0xc0 {
		d.pos++
		v.SetZero()
		return nil
	}
	return f(d, v)
}

func makeDecoder(t reflect.Type) decodeFunc {
	switch t {
	case timeType, dateType, timeOfDayType:
		return decodeTemporal
	case extType:
		return decodeExt
	case bigIntType:
		return decodeBigInt
	}
	if reflect.PointerTo(t).Implements(textUnmarshaler) && t.Kind() != reflect.Interface && t.Kind() != reflect.Pointer {
		return decodeText
	}
	switch t.Kind() {
	case reflect.Bool:
		return decodeBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return decodeInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return decodeUint
	case reflect.Float32, reflect.Float64:
		return decodeFloat
	case reflect.String:
		return decodeString
	case reflect.Pointer:
		return decodePointer(t)
	case reflect.Interface:
		return decodeInterface
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return decodeBytes
		}
		return decodeSlice(t)
	case reflect.Array:
		return decodeArray(t)
	case reflect.Map:
		return decodeMap(t)
	case reflect.Struct:
		return decodeStruct(t)
	}
	return func(_ *decoder, v reflect.Value) error {
		return refusal(v.Type(), "values of this type cannot be stored")
	}
}

func decodeBool(d *decoder, v reflect.Value) error {
	m := d.data[d.pos]
	if m != 0xc2 && m != 0xc3 {
		return d.mismatch(v)
	}
	d.pos++
	v.SetBool(m == 0xc3)
	return nil
}

func decodeInt(d *decoder, v reflect.Value) error {
	at := d.pos
	n, ok := d.number()
	switch {
	case !ok || n.kind == numFloat:
		d.pos = at
		return d.mismatch(v)
	case n.kind == numUint && n.bits > math.MaxInt64, v.OverflowInt(int64(n.bits)):
		return refusal(v.Type(), "the stored integer is out of range")
	}
	v.SetInt(int64(n.bits))
	return nil
}

func decodeUint(d *decoder, v reflect.Value) error {
	at := d.pos
	n, ok := d.number()
	switch {
	case !ok || n.kind == numFloat:
		d.pos = at
		return d.mismatch(v)
	case n.kind == numInt || v.OverflowUint(n.bits):
		return refusal(v.Type(), "the stored integer is out of range")
	}
	v.SetUint(n.bits)
	return nil
}

func decodeBigInt(d *decoder, v reflect.Value) error {
	at := d.pos
	n, ok := d.number()
	z := v.Addr().Interface().(*big.Int)
	switch {
	case !ok || n.kind == numFloat:
		d.pos = at
		return d.mismatch(v)
	case n.kind == numInt:
		z.SetInt64(int64(n.bits))
	default:
		z.SetUint64(n.bits)
	}
	return nil
}

func decodeFloat(d *decoder, v reflect.Value) error {
	n, ok := d.number()
	if !ok {
		return d.mismatch(v)
	}
	f, exact := n.float()
	if !exact || v.OverflowFloat(f) {
		return refusal(v.Type(), "the stored number does not fit")
	}
	v.SetFloat(f)
	return nil
}

func decodeString(d *decoder, v reflect.Value) error {
	b, ok := d.text()
	switch {
	case !ok:
		return d.mismatch(v)
	case !utf8.Valid(b):
		return ErrUTF8
	}
	if v.String() != string(b) { // a string that stays the same costs nothing
		v.SetString(string(b))
	}
	return nil
}

func decodeBytes(d *decoder, v reflect.Value) error {
	if b, ok := d.text(); ok {
		old := v.Bytes()
		if old == nil {
			old = []byte{}
		}
		v.SetBytes(append(old[:0], b...))
		return nil
	}
	n, ok := d.array()
	if !ok {
		return d.mismatch(v)
	}
	out := v.Bytes()[:0]
	for range n {
		x, ok := d.number()
		if !ok || x.kind != numUint || x.bits > math.MaxUint8 {
			return refusal(v.Type(), "the stored array does not hold bytes alone")
		}
		out = append(out, byte(x.bits))
	}
	v.SetBytes(out)
	return nil
}

func decodeText(d *decoder, v reflect.Value) error {
	b, ok := d.text()
	if !ok {
		return d.mismatch(v)
	}
	text := append([]byte(nil), b...)
	if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText(text); err != nil {
		return refusal(v.Type(), "UnmarshalText refused the stored text")
	}
	return nil
}

func decodePointer(t reflect.Type) decodeFunc {
	elem := &lazy{typ: t.Elem()}
	return func(d *decoder, v reflect.Value) error {
		if v.IsNil() {
			v.Set(reflect.New(t.Elem()))
		}
		return elem.decode(d, v.Elem())
	}
}

func decodeInterface(d *decoder, v reflect.Value) error {
	if v.NumMethod() != 0 {
		return refusal(v.Type(), "only an empty interface can take a stored value")
	}
	x, err := d.any()
	if err != nil {
		return err
	}
	v.Set(reflect.ValueOf(x))
	return nil
}
