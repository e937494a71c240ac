package container

import "encoding/binary"

// reader reads MessagePack items by their markers. The specifications of both
// containers fix the types of their elements, not only their values.
type reader struct {
	rest []byte
}

// family is a set of markers with a length or a value behind them: a range of
// short ones, and up to four long ones from first on.
type family struct {
	short, shortEnd byte // inclusive; short > shortEnd is none
	first           byte
	widths          []int
}

var (
	arrays    = family{0x90, 0x9f, 0xdc, []int{2, 4}}
	unsigned  = family{0x00, 0x7f, 0xcc, []int{1, 2, 4, 8}}
	binaries  = family{1, 0, 0xc4, []int{1, 2, 4}}
	textForms = family{0xa0, 0xbf, 0xd9, []int{1, 2, 4}}
)

// item reads a marker of the family f and its number: a length or a value.
func (r *reader) item(f family) (uint64, error) {
	if len(r.rest) == 0 {
		return 0, ErrLayout
	}
	m := r.rest[0]
	if f.short <= m && m <= f.shortEnd {
		r.rest = r.rest[1:]
		return uint64(m - f.short), nil
	}
	i := int(m) - int(f.first)
	if i < 0 || i >= len(f.widths) || len(r.rest) < 1+f.widths[i] {
		return 0, ErrLayout
	}
	b := r.rest[1 : 1+f.widths[i]]
	r.rest = r.rest[1+f.widths[i]:]
	switch len(b) {
	case 1:
		return uint64(b[0]), nil
	case 2:
		return uint64(binary.BigEndian.Uint16(b)), nil
	case 4:
		return uint64(binary.BigEndian.Uint32(b)), nil
	}
	return binary.BigEndian.Uint64(b), nil
}

// bytes reads an item of f and the bytes that follow it.
func (r *reader) bytes(f family) ([]byte, error) {
	n, err := r.item(f)
	if err != nil || n > uint64(len(r.rest)) {
		return nil, ErrLayout
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b, nil
}

// array reads the header of an array of exactly n elements.
func (r *reader) array(n uint64) error {
	if got, err := r.item(arrays); err != nil || got != n {
		return ErrLayout
	}
	return nil
}

// octets skips an array of integers from 0 to 255, in any unsigned form, and
// returns how many there are and a reader of them.
func (r *reader) octets() (n int, elems reader, err error) {
	count, err := r.item(arrays)
	if err != nil || count > uint64(len(r.rest)) {
		return 0, reader{}, ErrLayout
	}
	elems = *r
	for range count {
		if x, err := r.item(unsigned); err != nil || x > 255 {
			return 0, reader{}, ErrLayout
		}
	}
	return int(count), elems, nil
}

// fill reads len(out) integers that octets has checked.
func (r *reader) fill(out []byte) {
	for i := range out {
		x, _ := r.item(unsigned)
		out[i] = byte(x)
	}
}

// is reports whether the next item belongs to f.
func (r *reader) is(f family) bool {
	if len(r.rest) == 0 {
		return false
	}
	m := r.rest[0]
	return f.short <= m && m <= f.shortEnd || m >= f.first && int(m) < int(f.first)+len(f.widths)
}
