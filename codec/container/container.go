// Package container reads and writes the two containers of the CacheKit family
// that compress a document: the ByteStorage envelope (spec/wire-format.md),
// which the sister SDKs use among themselves, and the interop/v2 container
// (spec/interop-v2.md, a draft), which crosses them.
//
// Every size that a container claims is checked before anything is allocated
// for it: against the 512 MiB of the specification, against the caller's own
// limit, and against 1000 times the compressed bytes, in 64-bit arithmetic.
//
// Compression before encryption shows an observer of the sealed bytes how well
// a value compresses. Do not compress values in which a secret stands beside
// what an attacker can choose (spec/interop-v2.md, "Threat Model").
package container

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/pierrec/lz4/v4"
)

const (
	// MaxBytes bounds compressed and uncompressed bytes (spec/wire-format.md and
	// spec/interop-v2.md, "Security Limits").
	MaxBytes = 512 << 20
	// MaxRatio bounds uncompressed to compressed bytes, there too.
	MaxRatio = 1000
)

// ErrMalformed is in the chain of every refusal of this package.
var ErrMalformed = errors.New("container: malformed container")

// The reasons for ErrMalformed.
var (
	// ErrLayout: it is not laid out as its specification says: another magic or
	// version, another number or type of elements, a length past the end.
	ErrLayout = fmt.Errorf("%w: wrong layout", ErrMalformed)
	// ErrMethod: an interop/v2 container with an unknown compression method.
	ErrMethod = fmt.Errorf("%w: unknown compression method", ErrMalformed)
	// ErrTrailing: bytes follow the container.
	ErrTrailing = fmt.Errorf("%w: bytes follow it", ErrMalformed)
	// ErrTooLarge: it claims more than MaxBytes, or than the caller's limit.
	ErrTooLarge = fmt.Errorf("%w: it claims more bytes than allowed", ErrMalformed)
	// ErrRatio: it claims more than MaxRatio times its compressed bytes.
	ErrRatio = fmt.Errorf("%w: it claims more than %d times its compressed bytes", ErrMalformed, MaxRatio)
	// ErrLZ4: the compressed bytes are no LZ4 block of the claimed size.
	ErrLZ4 = fmt.Errorf("%w: not an LZ4 block of the claimed size", ErrMalformed)
	// ErrSize: an uncompressed payload is not of the claimed size.
	ErrSize = fmt.Errorf("%w: payload is not of the claimed size", ErrMalformed)
	// ErrChecksum: a ByteStorage envelope whose checksum does not match.
	ErrChecksum = fmt.Errorf("%w: checksum does not match", ErrMalformed)
)

// bounded checks a claim of size bytes behind compressed ones.
func bounded(size uint64, compressed, limit int) error {
	switch {
	case tooLarge(size, compressed, limit):
		return ErrTooLarge
	case size > MaxRatio*uint64(compressed) || compressed == 0:
		return ErrRatio
	case size > maxExpansion*uint64(compressed):
		return ErrLZ4
	}
	return nil
}

func tooLarge(size uint64, compressed, limit int) bool {
	return size > MaxBytes || compressed > MaxBytes || limit != 0 && size > uint64(max(limit, 0))
}

// maxExpansion is how far LZ4 can go: a byte of a block that says how long a
// match is adds 255 bytes to it (LZ4 block format, "Sequences"). What claims
// more is refused before memory is allocated for it.
const maxExpansion = 255

// appendDecompressed appends size bytes that block must expand to exactly.
func appendDecompressed(dst, block []byte, size int) ([]byte, error) {
	start := len(dst)
	// lz4's assembler takes the end of a nil slice, address 0, for a far one.
	grown := slices.Grow(dst, max(size, 1))
	out := grown[start : start+size : start+size]
	n, err := lz4.UncompressBlock(block, out)
	if err != nil || n != size {
		return dst, ErrLZ4
	}
	return grown[:start+size], nil
}

// compressors keep their hash tables.
var compressors = sync.Pool{New: func() any { return new(lz4.Compressor) }}

// minCompress is the size below which data is not worth compressing
// (spec/interop-v2.md, "Compression Method Registry", guidance).
const minCompress = 64

// appendCompressed appends an LZ4 block of data, or reports that there is none
// smaller than data.
func appendCompressed(dst, data []byte) (out []byte, ok bool) {
	if len(data) < minCompress {
		return dst, false
	}
	start, room := len(dst), len(data)-1
	dst = slices.Grow(dst, room)
	c := compressors.Get().(*lz4.Compressor)
	defer compressors.Put(c)
	n, err := c.CompressBlock(data, dst[start:start+room])
	if err != nil || n == 0 {
		return dst[:start], false
	}
	return dst[:start+n], true
}

// appendLiteral appends an LZ4 block that holds data as it is: one sequence of
// literals, which is what a block of an incompressible input looks like.
func appendLiteral(dst, data []byte) []byte {
	dst = slices.Grow(dst, len(data)+len(data)/255+2)
	if n := len(data); n < 15 {
		dst = append(dst, byte(n)<<4)
	} else {
		dst = append(dst, 0xf0)
		for n -= 15; n >= 255; n -= 255 {
			dst = append(dst, 255)
		}
		dst = append(dst, byte(n))
	}
	return append(dst, data...)
}
