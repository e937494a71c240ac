// Package mpack writes single MessagePack items, each in its shortest form (the
// MessagePack specification, "Formats"). Every function appends to dst and
// returns the extended slice.
package mpack

import (
	"encoding/binary"
	"math"
)

// AppendUint appends an unsigned integer.
func AppendUint(dst []byte, n uint64) []byte {
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

// AppendInt appends an integer.
func AppendInt(dst []byte, n int64) []byte {
	switch {
	case n >= 0:
		return AppendUint(dst, uint64(n))
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

// AppendFloat appends a float64.
func AppendFloat(dst []byte, f float64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, 0xcb), math.Float64bits(f))
}

// AppendBool appends a boolean.
func AppendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, 0xc3)
	}
	return append(dst, 0xc2)
}

// AppendNil appends nil.
func AppendNil(dst []byte) []byte { return append(dst, 0xc0) }

// AppendString appends a string, which must be UTF-8.
func AppendString(dst []byte, s string) []byte {
	if len(s) < 32 {
		dst = append(dst, 0xa0|byte(len(s)))
	} else {
		dst = appendHeader(dst, len(s), 0xd9, true)
	}
	return append(dst, s...)
}

// AppendBytes appends binary data.
func AppendBytes(dst, b []byte) []byte {
	return append(AppendBytesHeader(dst, len(b)), b...)
}

// AppendBytesHeader appends the header of n bytes of binary data.
func AppendBytesHeader(dst []byte, n int) []byte { return appendHeader(dst, n, 0xc4, true) }

// AppendArrayHeader appends the header of an array of n elements.
func AppendArrayHeader(dst []byte, n int) []byte {
	if n < 16 {
		return append(dst, 0x90|byte(n))
	}
	return appendHeader(dst, n, 0xdc, false)
}

// AppendMapHeader appends the header of a map of n pairs.
func AppendMapHeader(dst []byte, n int) []byte {
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
