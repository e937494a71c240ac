package codec

import (
	"encoding/binary"
	"math"
)

// The writers of single items, each in its shortest form.

func appendUint(dst []byte, n uint64) []byte {
	switch {
	case n < 0x80:
		return append(dst, byte(n))
	case n <= math.MaxUint8:
		return append(dst, 0xcc, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, 0xcd), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, 0xce), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, 0xcf), n)
}

func appendInt(dst []byte, n int64) []byte {
	switch {
	case n >= 0:
		return appendUint(dst, uint64(n))
	case n >= -32:
		return append(dst, byte(n))
	case n >= math.MinInt8:
		return append(dst, 0xd0, byte(n))
	case n >= math.MinInt16:
		return binary.BigEndian.AppendUint16(append(dst, 0xd1), uint16(n))
	case n >= math.MinInt32:
		return binary.BigEndian.AppendUint32(append(dst, 0xd2), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, 0xd3), uint64(n))
}

func appendFloat(dst []byte, f float64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, 0xcb), math.Float64bits(f))
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, 0xc3)
	}
	return append(dst, 0xc2)
}

func appendNil(dst []byte) []byte { return append(dst, 0xc0) }

func appendString(dst []byte, s string) []byte {
	if len(s) < 32 {
		dst = append(dst, 0xa0|byte(len(s)))
	} else {
		dst = appendHeader(dst, len(s), 0xd9, true)
	}
	return append(dst, s...)
}

func appendBytes(dst, b []byte) []byte {
	return append(appendHeader(dst, len(b), 0xc4, true), b...)
}

func appendArrayHeader(dst []byte, n int) []byte {
	if n < 16 {
		return append(dst, 0x90|byte(n))
	}
	return appendHeader(dst, n, 0xdc, false)
}

func appendMapHeader(dst []byte, n int) []byte {
	if n < 16 {
		return append(dst, 0x80|byte(n))
	}
	return appendHeader(dst, n, 0xde, false)
}

// appendHeader writes one of a family of markers that starts at marker: with a
// length of 1 (if the family has that), 2 or 4 bytes.
func appendHeader(dst []byte, n int, marker byte, oneByte bool) []byte {
	if oneByte {
		if n <= math.MaxUint8 {
			return append(dst, marker, byte(n))
		}
		marker++
	}
	if n <= math.MaxUint16 {
		return binary.BigEndian.AppendUint16(append(dst, marker), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, marker+1), uint32(n))
}
