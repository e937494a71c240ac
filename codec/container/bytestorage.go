package container

import (
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/zeebo/xxh3"

	"github.com/cachekit-io/cachekit-go/internal/mpack"
)

// maxFormat is the longest format token that is written or read.
const maxFormat = 255

// blocks hold compressed data until its length is known.
var blocks = sync.Pool{New: func() any { return new([]byte) }}

// maxPooled is the largest buffer that is kept for reuse.
const maxPooled = 1 << 20

func putBlock(b *[]byte) {
	if cap(*b) <= maxPooled {
		blocks.Put(b)
	}
}

// AppendByteStorage appends the ByteStorage envelope of data to dst:
// [compressed_data, checksum, original_size, format] (spec/wire-format.md,
// "Byte Layout"), with compressed_data as bin. format names what data is,
// "msgpack" for a document. The error is ErrTooLarge or ErrLayout.
func AppendByteStorage(dst, data []byte, format string) ([]byte, error) {
	switch {
	case len(data) > MaxBytes:
		return dst, ErrTooLarge
	case len(format) > maxFormat:
		return dst, fmt.Errorf("%w: the format token has more than %d bytes", ErrLayout, maxFormat)
	}
	buf := blocks.Get().(*[]byte)
	defer putBlock(buf)
	block, ok := appendCompressed((*buf)[:0], data)
	// A block over the ratio, or none at all, is written as literals: readers
	// accept those whatever the data.
	if !ok || bounded(uint64(len(data)), len(block), 0) != nil {
		block = appendLiteral(block[:0], data)
	}
	*buf = block
	dst = mpack.AppendBytes(append(dst, 0x94), block)
	var sum [8]byte
	binary.BigEndian.PutUint64(sum[:], xxh3.Hash(data))
	dst = append(dst, 0x98)
	for _, b := range sum {
		dst = mpack.AppendUint(dst, uint64(b))
	}
	return mpack.AppendString(mpack.AppendUint(dst, uint64(len(data))), format), nil
}

// OpenByteStorage returns the data in a ByteStorage envelope, in memory of its
// own, and its format token. It reads both encodings of compressed_data, bin
// and the array of integers that old writers used. limit bounds the data in
// bytes, beside MaxBytes; 0 is no further limit. The error is one of the
// reasons for ErrMalformed.
func OpenByteStorage(envelope []byte, limit int) (data []byte, format string, err error) {
	if len(envelope) > MaxBytes {
		return nil, "", ErrTooLarge
	}
	r := reader{envelope}
	block, sum, size, format, err := r.byteStorage()
	switch {
	case err != nil:
		return nil, "", err
	case len(r.rest) > 0:
		return nil, "", ErrTrailing
	}
	if err := bounded(size, len(block), limit); err != nil {
		return nil, "", err
	}
	data, err = appendDecompressed(nil, block, int(size))
	switch {
	case err != nil:
		return nil, "", err
	case xxh3.Hash(data) != sum:
		return nil, "", ErrChecksum
	}
	return data, format, nil
}

func (r *reader) byteStorage() (block []byte, sum, size uint64, format string, err error) {
	if err = r.array(4); err != nil {
		return
	}
	if r.is(arrays) {
		block, err = r.octets()
	} else {
		block, err = r.bytes(binaries)
	}
	if err != nil {
		return
	}
	octets, err := r.octets()
	if err != nil || len(octets) != 8 {
		return nil, 0, 0, "", ErrLayout
	}
	if size, err = r.item(unsigned); err != nil {
		return
	}
	token, err := r.bytes(textForms)
	if err != nil || len(token) > maxFormat {
		return nil, 0, 0, "", ErrLayout
	}
	return block, binary.BigEndian.Uint64(octets), size, string(token), nil
}
