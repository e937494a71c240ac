package codec

import (
	"bytes"
	"encoding"
	"reflect"
	"strconv"
	"unicode/utf8"
)

func decodeSlice(t reflect.Type) decodeFunc {
	elem := &lazy{typ: t.Elem()}
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
		for i := range n {
			if i >= v.Len() {
				v.Set(reflect.Append(v, reflect.Zero(t.Elem())))
			}
			if err := elem.decode(d, v.Index(i)); err != nil {
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
	elem := &lazy{typ: t.Elem()}
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
			if err := elem.decode(d, v.Index(i)); err != nil {
				return within("[]", err)
			}
		}
		return nil
	}
}

func decodeMap(t reflect.Type) decodeFunc {
	elem := &lazy{typ: t.Elem()}
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
			if err := elem.decode(d, value); err != nil {
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
	if err := d.value(decoderOf(k.Type()), k); err != nil {
		return err
	}
	if !k.Comparable() {
		return refusal(k.Type(), "a stored map key cannot be a key in Go")
	}
	return nil
}

// member is a field of a struct with the way to decode it.
type member struct {
	field
	lazy
}

func decodeStruct(t reflect.Type) decodeFunc {
	fields := structFields(t)
	members := make([]member, len(fields))
	byName := make(map[string]int, len(fields))
	for i, f := range fields {
		members[i].field, members[i].lazy.typ, byName[f.name] = f, f.typ, i
	}
	return func(d *decoder, v reflect.Value) error {
		n, ok := d.mapping()
		if !ok {
			return d.mismatch(v)
		}
		var few [2]uint64 // which fields the document has, without an allocation
		seen := few[:]
		if len(members) > 64*len(few) {
			seen = make([]uint64, len(members)/64+1)
		}
		next := 0 // documents have their keys sorted as fields are
		all := true
		for range n {
			i, ok := d.member(members, byName, next)
			if !ok {
				d.skip()
				continue
			}
			all = all && i == next
			m := &members[i]
			if err := m.decode(d, m.in(v)); err != nil {
				return within(m.name, err)
			}
			seen[i/64] |= 1 << (i % 64)
			next = i + 1
		}
		if all && next == len(members) {
			return nil
		}
		for i := range members {
			if seen[i/64]&(1<<(i%64)) == 0 {
				members[i].zero(v)
			}
		}
		return nil
	}
}

// member reads a key and finds its field, which is most likely the one at next,
// in its shortest form.
func (d *decoder) member(members []member, byName map[string]int, next int) (i int, ok bool) {
	if next < len(members) {
		if h := members[next].header; bytes.HasPrefix(d.data[d.pos:], h) {
			d.pos += len(h)
			return next, true
		}
	}
	name, isText := d.peekText()
	d.skip()
	if !isText {
		return 0, false
	}
	i, ok = byName[string(name)]
	return i, ok
}
