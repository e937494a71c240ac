package codec

// MaxDepth is how deep arrays and maps may be nested, an empty one included
// (spec/interop-mode.md, "Decode bounds": 32 to 1024 allowed, the family uses
// 100).
const MaxDepth = 100

// form classifies a marker byte: how many bytes its length prefix has, how many
// payload bytes follow in any case, and what the length counts.
type form struct {
	prefix  uint8 // bytes of the length prefix
	payload uint8 // further bytes, without those that the length counts
	unit    uint8 // what one unit of length stands for
}

const (
	unitNone   = iota // no length
	unitByte          // a byte of payload
	unitValue         // a value
	unitPair          // a key and a value
	unitRefuse        // the reserved marker
)

// fixStr is a string whose length is in the low five bits of its marker.
const fixStr = 0xa0

// forms has the form of every marker (the MessagePack specification, "Formats").
var forms = func() (f [256]form) {
	for m := 0x80; m <= 0x8f; m++ {
		f[m] = form{unit: unitPair}
		f[m|0x10] = form{unit: unitValue}
		f[m+0x20] = form{unit: unitByte}
		f[m+0x30] = form{unit: unitByte}
	}
	f[0xc1] = form{unit: unitRefuse}
	for i, width := range []uint8{1, 2, 4} {
		f[0xc4+i] = form{prefix: width, unit: unitByte}             // bin
		f[0xc7+i] = form{prefix: width, payload: 1, unit: unitByte} // ext
		f[0xd9+i] = form{prefix: width, unit: unitByte}             // str
	}
	for i, width := range []uint8{2, 4} {
		f[0xdc+i] = form{prefix: width, unit: unitValue} // array
		f[0xde+i] = form{prefix: width, unit: unitPair}  // map
	}
	f[0xca], f[0xcb] = form{payload: 4}, form{payload: 8} // float
	for i := range 4 {
		f[0xcc+i], f[0xd0+i] = form{payload: 1 << i}, form{payload: 1 << i} // uint, int
	}
	for i := range 5 {
		f[0xd4+i] = form{payload: 1 + 1<<i} // fixext
	}
	return f
}()

// Check reports whether data is exactly one well-formed document within the
// bounds. It decodes and allocates nothing; every header is checked against the
// bytes that are left before anything is believed of it. The error is one of
// the reasons for ErrMalformed. Strings are not checked for UTF-8.
func Check(data []byte) error {
	// A frame of Python's auto mode begins with "CK" and a version; as
	// MessagePack it would be the integer 67 with bytes behind it.
	if len(data) > 2 && data[0] == 'C' && data[1] == 'K' {
		return ErrPythonFrame
	}
	n, err := walk(data)
	switch {
	case err != nil:
		return err
	case n != len(data):
		return ErrTrailing
	}
	return nil
}

// walk returns the length of the document at the start of data. Few documents
// are nested deeply, so the large stack is cleared only for those.
func walk(data []byte) (int, error) {
	var few [8]uint64
	n, err := walkWith(few[:], data)
	if err == ErrDepth {
		var all [MaxDepth]uint64
		return walkWith(all[:], data)
	}
	return n, err
}

// walkWith is walk to the depth that owed has room for: it keeps the number of
// values still owed at each outer level.
func walkWith(owed []uint64, data []byte) (int, error) {
	var depth int
	left, pos := uint64(1), 0 // values owed at this level; position
	total := uint64(1)        // values owed at all levels
	for {
		for left == 0 {
			if depth == 0 {
				return pos, nil
			}
			depth--
			left = owed[depth]
		}
		if pos >= len(data) {
			return 0, ErrTruncated
		}
		m := data[pos]
		pos++
		left--
		total--
		if m < 0x80 || m >= 0xe0 {
			continue // a small integer
		}
		if m&0xe0 == fixStr { // most keys
			if pos += int(m & 0x1f); pos > len(data) {
				return 0, ErrTruncated
			}
			continue
		}
		f := forms[m]
		if f.unit == unitRefuse {
			return 0, ErrMarker
		}
		n, ok := length(data[pos:], m, f)
		if !ok {
			return 0, ErrTruncated
		}
		pos += int(f.prefix)
		rest := uint64(len(data) - pos)
		if f.unit < unitValue {
			n += uint64(f.payload)
			if n > rest {
				return 0, ErrTruncated
			}
			pos += int(n)
			continue
		}
		if depth == len(owed) {
			return 0, ErrDepth
		}
		if f.unit == unitPair {
			n *= 2
		}
		total += n
		if total > rest { // each value owed takes a byte at least
			return 0, ErrTruncated
		}
		owed[depth] = left
		depth++
		left = n
	}
}

// length reads the length that marker m and the bytes behind it declare.
func length(rest []byte, m byte, f form) (n uint64, ok bool) {
	if len(rest) < int(f.prefix) {
		return 0, false
	}
	switch f.prefix {
	case 1:
		return uint64(rest[0]), true
	case 2:
		return uint64(rest[0])<<8 | uint64(rest[1]), true
	case 4:
		return uint64(rest[0])<<24 | uint64(rest[1])<<16 | uint64(rest[2])<<8 | uint64(rest[3]), true
	}
	switch {
	case f.unit == unitNone:
		return 0, true
	case m >= 0xa0:
		return uint64(m & 0x1f), true
	}
	return uint64(m & 0x0f), true
}
