package codec

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cachekit-io/cachekit-go/internal/mpack"
)

// field is one field of a struct as it appears in a document.
type field struct {
	name      string
	header    []byte // the encoded name
	index     []int  // for reflect.Value.FieldByIndex
	typ       reflect.Type
	omitEmpty bool
	omitZero  bool
	tagged    bool
}

// structFields returns the fields of t in the order of their names. Embedded
// structs are flattened by the rules of Go and encoding/json: the shallowest
// field of a name wins, then a tagged one; else none does.
func structFields(t reflect.Type) []field {
	var all []field
	collect(t, nil, map[reflect.Type]bool{}, &all)
	slices.SortStableFunc(all, func(a, b field) int {
		return cmp.Or(strings.Compare(a.name, b.name), cmp.Compare(len(a.index), len(b.index)), -compareBool(a.tagged, b.tagged))
	})
	var out []field
	for i := 0; i < len(all); {
		j := i + 1
		for j < len(all) && all[j].name == all[i].name {
			j++
		}
		best := all[i]
		if j == i+1 || len(all[i+1].index) != len(best.index) || all[i+1].tagged != best.tagged {
			best.header = mpack.AppendString(nil, best.name)
			out = append(out, best)
		}
		i = j
	}
	return out
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

func collect(t reflect.Type, index []int, seen map[reflect.Type]bool, out *[]field) {
	if seen[t] {
		return
	}
	seen[t] = true
	defer delete(seen, t)
	for i := range t.NumField() {
		f := t.Field(i)
		name, opts, tagged := tagOf(f)
		embedded := f.Type
		if f.Anonymous && embedded.Kind() == reflect.Pointer {
			embedded = embedded.Elem()
		}
		flatten := f.Anonymous && embedded.Kind() == reflect.Struct && (name == "" || hasOption(opts, "inline")) && !special(embedded)
		if name == "-" && opts == "" || !f.IsExported() && !flatten || !f.IsExported() && f.Type.Kind() == reflect.Pointer {
			continue
		}
		at := append(slices.Clone(index), i)
		if flatten {
			collect(embedded, at, seen, out)
			continue
		}
		if name == "" {
			name = f.Name
		}
		*out = append(*out, field{
			name: name, index: at, typ: f.Type, tagged: tagged,
			omitEmpty: hasOption(opts, "omitempty"), omitZero: hasOption(opts, "omitzero"),
		})
	}
}

// tagOf returns the name and the options that a field's tag gives it; the tag
// `msgpack` comes before `json`.
func tagOf(f reflect.StructField) (name, opts string, tagged bool) {
	tag, ok := f.Tag.Lookup("msgpack")
	if !ok {
		tag, ok = f.Tag.Lookup("json")
	}
	if !ok || !utf8.ValidString(tag) {
		return "", "", false
	}
	name, opts, comma := strings.Cut(tag, ",")
	if name == "-" && comma {
		opts += "," // `"-,"` names the field "-"
	}
	return name, opts, name != ""
}

func hasOption(opts, want string) bool {
	for o := range strings.SplitSeq(opts, ",") {
		if o == want {
			return true
		}
	}
	return false
}

// isEmpty is omitempty's notion of empty, that of encoding/json.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return false
	}
	return v.IsZero()
}

// zeroer is what omitzero asks, as in encoding/json.
type zeroer interface{ IsZero() bool }

func isZero(v reflect.Value) bool {
	if z, ok := v.Interface().(zeroer); ok && (v.Kind() != reflect.Pointer || !v.IsNil()) {
		return z.IsZero()
	}
	return v.IsZero()
}

// in returns the field of v to decode into; nil embedded pointers on the way
// are filled.
func (f *field) in(v reflect.Value) reflect.Value {
	if len(f.index) == 1 {
		return v.Field(f.index[0])
	}
	for i, x := range f.index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(x)
	}
	return v
}

// zero clears the field of v, if there is one.
func (f *field) zero(v reflect.Value) {
	if at, err := v.FieldByIndexErr(f.index); err == nil {
		at.SetZero()
	}
}
