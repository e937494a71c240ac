package secure

import "reflect"

// sizer estimates the memory that a Go value keeps alive, once, when the value
// is put into the in-process layer. It looks at no more than a fixed number of
// values, so that a huge or cyclic structure costs little; what is beyond them
// is not counted.
type sizer struct {
	left int
}

const maxSized = 4096

func newSizer() *sizer { return &sizer{left: maxSized} }

// size counts v itself and what it refers to.
func (s *sizer) size(v reflect.Value) int {
	if !v.IsValid() {
		return 0
	}
	return int(v.Type().Size()) + s.behind(v)
}

// behind counts what v refers to.
func (s *sizer) behind(v reflect.Value) (n int) {
	if s.left--; s.left < 0 {
		return 0
	}
	switch v.Kind() {
	case reflect.String:
		return v.Len()
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			return s.size(v.Elem())
		}
	case reflect.Array:
		for i := range v.Len() {
			n += s.behind(v.Index(i))
		}
	case reflect.Slice:
		n = v.Len() * int(v.Type().Elem().Size())
		if scalar(v.Type().Elem().Kind()) {
			return n
		}
		for i := range v.Len() {
			n += s.behind(v.Index(i))
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next() && s.left > 0; {
			n += s.size(it.Key()) + s.size(it.Value())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			n += s.behind(v.Field(i))
		}
	}
	return n
}

func scalar(k reflect.Kind) bool { return k >= reflect.Bool && k <= reflect.Complex128 }
