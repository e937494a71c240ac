package codec

import (
	"encoding"
	"reflect"
	"strconv"
	"unicode/utf8"
)

func decodeSlice(t reflect.Type) decodeFunc {
	elem := lazyDecoder(t.Elem())
	return func(d *decoder, v reflect.Value) error {
		n, ok := d.array()
		if !ok {
			return d.mismatch(v)
		}
		if v.IsNil() || v.Cap() < n {
			// What the document claims is backed by a byte an element, so a
			// large element type is what could make this large: grow along.
			v.Set(reflect.MakeSlice(t, 0, min(n, maxFirst(t.Elem()))))
		}
		v.SetLen(min(n, v.Cap()))
		f := elem()
		for i := range n {
			if i >= v.Len() {
				v.Set(reflect.Append(v, reflect.Zero(t.Elem())))
			}
			if err := f(d, v.Index(i)); err != nil {
				return within("[]", err)
			}
		}
		return nil
	}
}

// maxFirst is how many elements are allocated before the first is read.
func maxFirst(elem reflect.Type) int {
	return max(1, 64<<10/max(1, int(elem.Size())))
}

func decodeArray(t reflect.Type) decodeFunc {
	elem := lazyDecoder(t.Elem())
	return func(d *decoder, v reflect.Value) error {
		if t.Elem().Kind() == reflect.Uint8 {
			if b, ok := d.text(); ok {
				if len(b) != t.Len() {
					return refusal(t, "the stored bytes have another length")
				}
				reflect.Copy(v, reflect.ValueOf(b))
				return nil
			}
		}
		n, ok := d.array()
		switch {
		case !ok:
			return d.mismatch(v)
		case n != t.Len():
			return refusal(t, "the stored array has another length")
		}
		for i := range n {
			if err := elem()(d, v.Index(i)); err != nil {
				return within("[]", err)
			}
		}
		return nil
	}
}

func decodeMap(t reflect.Type) decodeFunc {
	elem := lazyDecoder(t.Elem())
	return func(d *decoder, v reflect.Value) error {
		n, ok := d.mapping()
		if !ok {
			return d.mismatch(v)
		}
		if v.IsNil() {
			v.Set(reflect.MakeMap(t))
		} else {
			v.Clear()
		}
		for range n {
			key := reflect.New(t.Key()).Elem()
			if err := d.key(key); err != nil {
				return err
			}
			value := reflect.New(t.Elem()).Elem()
			if err := elem()(d, value); err != nil {
				return within("{}", err)
			}
			v.SetMapIndex(key, value)
		}
		return nil
	}
}

// key reads a map key into k: the inverse of mapKey, and any key that fits the
// type as it is.
func (d *decoder) key(k reflect.Value) error {
	t := k.Type()
	b, isText := d.peekText()
	unmarshals := reflect.PointerTo(t).Implements(textUnmarshaler)
	switch {
	case !isText || t.Kind() == reflect.String && !unmarshals || t.Kind() == reflect.Interface:
		return d.plainKey(k)
	case !utf8.Valid(b):
		return ErrUTF8
	case unmarshals:
		d.skip()
		if k.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText(append([]byte(nil), b...)) == nil {
			return nil
		}
	case k.CanInt():
		d.skip()
		if n, err := strconv.ParseInt(string(b), 10, 64); err == nil && !k.OverflowInt(n) {
			k.SetInt(n)
			return nil
		}
	case k.CanUint():
		d.skip()
		if n, err := strconv.ParseUint(string(b), 10, 64); err == nil && !k.OverflowUint(n) {
			k.SetUint(n)
			return nil
		}
	}
	return refusal(t, "a stored map key does not fit")
}

func (d *decoder) plainKey(k reflect.Value) error {
	if err := decoderOf(k.Type())(d, k); err != nil {
		return err
	}
	if !k.Comparable() {
		return refusal(k.Type(), "a stored map key cannot be a key in Go")
	}
	return nil
}

func decodeStruct(t reflect.Type) decodeFunc {
	fields := structFields(t)
	elems := make([]func() decodeFunc, len(fields))
	byName := make(map[string]int, len(fields))
	for i, f := range fields {
		elems[i], byName[f.name] = lazyDecoder(f.typ), i
	}
	return func(d *decoder, v reflect.Value) error {
		n, ok := d.mapping()
		if !ok {
			return d.mismatch(v)
		}
		var few [2]uint64 // which fields the document has, without an allocation
		seen := few[:]
		if len(fields) > 64*len(few) {
			seen = make([]uint64, len(fields)/64+1)
		}
		next := 0 // documents have their keys sorted as fields are
		for range n {
			i, ok := d.fieldIndex(fields, byName, next)
			if !ok {
				d.skip()
				continue
			}
			if err := elems[i]()(d, fields[i].in(v)); err != nil {
				return within(fields[i].name, err)
			}
			seen[i/64] |= 1 << (i % 64)
			next = i + 1
		}
		for i := range fields {
			if seen[i/64]&(1<<(i%64)) == 0 {
				fields[i].zero(v)
			}
		}
		return nil
	}
}

// fieldIndex reads a key and finds its field, which is most likely the one at
// next.
func (d *decoder) fieldIndex(fields []field, byName map[string]int, next int) (i int, ok bool) {
	name, isText := d.peekText()
	d.skip()
	switch {
	case !isText:
		return 0, false
	case next < len(fields) && fields[next].name == string(name):
		return next, true
	}
	i, ok = byName[string(name)]
	return i, ok
}
