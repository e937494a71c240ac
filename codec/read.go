package codec

import (
	"encoding/binary"
	"math"
	"reflect"
	"unicode/utf8"
)

// decoder reads a document that Check has accepted, so that no read can run
// past its end.
type decoder struct {
	data []byte
	pos  int
}

// Ext is a MessagePack extension value, which the family does not write but
// accepts. It can be read and not written.
type Ext struct {
	Type int8
	Data []byte
}

func (d *decoder) mismatch(v reflect.Value) error {
	return refusal(v.Type(), "the stored value is %s", kindName(d.data[d.pos]))
}

// kindName names the type of value that begins with marker m.
func kindName(m byte) string {
	switch {
	case m < 0x80, m >= 0xe0, m >= 0xcc && m <= 0xd3:
		return "an integer"
	case m < 0x90, m >= 0xde:
		return "a map"
	case m < 0xa0, m >= 0xdc:
		return "an array"
	case m < 0xc0, m >= 0xd9:
		return "a string"
	case m == 0xc0:
		return "nil"
	case m <= 0xc3:
		return "a boolean"
	case m <= 0xc6:
		return "binary"
	case m == 0xca, m == 0xcb:
		return "a float"
	}
	return "an extension"
}

// number is a stored number: the bits of a uint64, of a negative int64, or of a
// float64.
type number struct {
	bits uint64
	kind uint8
}

const (
	numUint uint8 = iota + 1
	numInt
	numFloat
)

// float returns the number as a float64, and whether that is exact.
func (n number) float() (f float64, exact bool) {
	switch n.kind {
	case numFloat:
		return math.Float64frombits(n.bits), true
	case numInt:
		f = float64(int64(n.bits))
		return f, f >= -1<<63 && int64(f) == int64(n.bits)
	}
	f = float64(n.bits)
	return f, f < 1<<64 && uint64(f) == n.bits
}

// number reads a number; ok is false, and nothing read, if there is none.
func (d *decoder) number() (n number, ok bool) {
	m := d.data[d.pos]
	switch {
	case m < 0x80:
		d.pos++
		return number{uint64(m), numUint}, true
	case m >= 0xe0:
		d.pos++
		return number{uint64(int64(int8(m))), numInt}, true
	case m < 0xca || m > 0xd3:
		return number{}, false
	}
	b := d.data[d.pos+1:]
	d.pos += 1 + int(forms[m].payload)
	switch m {
	case 0xca:
		return number{math.Float64bits(float64(math.Float32frombits(binary.BigEndian.Uint32(b)))), numFloat}, true
	case 0xcb:
		return number{binary.BigEndian.Uint64(b), numFloat}, true
	case 0xcc:
		return number{uint64(b[0]), numUint}, true
	case 0xcd:
		return number{uint64(binary.BigEndian.Uint16(b)), numUint}, true
	case 0xce:
		return number{uint64(binary.BigEndian.Uint32(b)), numUint}, true
	case 0xcf:
		return number{binary.BigEndian.Uint64(b), numUint}, true
	case 0xd0:
		return signed(int64(int8(b[0]))), true
	case 0xd1:
		return signed(int64(int16(binary.BigEndian.Uint16(b)))), true
	case 0xd2:
		return signed(int64(int32(binary.BigEndian.Uint32(b)))), true
	}
	return signed(int64(binary.BigEndian.Uint64(b))), true
}

func signed(n int64) number {
	if n < 0 {
		return number{uint64(n), numInt}
	}
	return number{uint64(n), numUint}
}

// text reads the bytes of a str or bin; they are part of the document.
func (d *decoder) text() (b []byte, ok bool) {
	b, size := d.textAt()
	d.pos += size
	return b, size > 0
}

// peekText is text without moving on, and for str alone.
func (d *decoder) peekText() (b []byte, ok bool) {
	if m := d.data[d.pos]; m >= 0xc4 && m <= 0xc6 {
		return nil, false
	}
	b, size := d.textAt()
	return b, size > 0
}

// textAt returns the str or bin at the position and the size of the whole item,
// 0 if it is another type.
func (d *decoder) textAt() (b []byte, size int) {
	m := d.data[d.pos]
	if m&0xe0 == fixStr {
		size = 1 + int(m&0x1f)
		return d.data[d.pos+1 : d.pos+size], size
	}
	f := forms[m]
	if f.unit != unitByte || f.payload != 0 {
		return nil, 0
	}
	rest := d.data[d.pos+1:]
	n, _ := length(rest, m, f)
	start := int(f.prefix)
	return rest[start : start+int(n)], 1 + start + int(n)
}

// array and mapping read a header and return the number of elements or pairs.
func (d *decoder) array() (n int, ok bool)   { return d.header(unitValue) }
func (d *decoder) mapping() (n int, ok bool) { return d.header(unitPair) }

func (d *decoder) header(unit uint8) (int, bool) {
	m := d.data[d.pos]
	f := forms[m]
	if f.unit != unit {
		return 0, false
	}
	n, _ := length(d.data[d.pos+1:], m, f)
	d.pos += 1 + int(f.prefix)
	return int(n), true
}

// skip moves past one value of any type.
func (d *decoder) skip() {
	m := d.data[d.pos]
	f := forms[m]
	if f.unit < unitValue {
		n, _ := length(d.data[d.pos+1:], m, f)
		d.pos += 1 + int(f.prefix) + int(f.payload) + int(n)
		return
	}
	n, _ := walk(d.data[d.pos:])
	d.pos += n
}

// ext reads an extension value.
func (d *decoder) ext() Ext {
	m := d.data[d.pos]
	f := forms[m]
	rest := d.data[d.pos+1:]
	n, _ := length(rest, m, f)
	size := int(f.prefix) + int(f.payload) + int(n)
	body := rest[f.prefix:size]
	d.pos += 1 + size
	return Ext{int8(body[0]), append([]byte(nil), body[1:]...)}
}

func decodeExt(d *decoder, v reflect.Value) error {
	if kindName(d.data[d.pos]) != "an extension" {
		return d.mismatch(v)
	}
	v.Set(reflect.ValueOf(d.ext()))
	return nil
}

// any reads a value of any type into the Go types of the package documentation.
func (d *decoder) any() (any, error) {
	m := d.data[d.pos]
	if n, ok := d.number(); ok {
		return n.any(), nil
	}
	switch kindName(m) {
	case "nil":
		d.pos++
		return nil, nil
	case "a boolean":
		d.pos++
		return m == 0xc3, nil
	case "a string":
		b, _ := d.text()
		if !utf8.Valid(b) {
			return nil, ErrUTF8
		}
		return string(b), nil
	case "binary":
		b, _ := d.text()
		return append([]byte{}, b...), nil
	case "an array":
		return d.anyArray()
	case "a map":
		return d.anyMap()
	}
	return d.ext(), nil
}

func (n number) any() any {
	switch {
	case n.kind == numFloat:
		return math.Float64frombits(n.bits)
	case n.kind == numUint && n.bits > math.MaxInt64:
		return n.bits
	}
	return int64(n.bits)
}

func (d *decoder) anyArray() (any, error) {
	n, _ := d.array()
	out := make([]any, 0, min(n, maxFirst(anyType)))
	for range n {
		x, err := d.any()
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}
