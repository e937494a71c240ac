package container

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/zeebo/xxh3"

	"github.com/cachekit-io/cachekit-go/internal/mpack"
)

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
// "msgpack" for a document; it must be UTF-8. data must not overlap the capacity
// of dst. The error is ErrTooLarge, also for data that nearly has MaxBytes and
// does not compress, or ErrLayout; dst is returned as it was then.
func AppendByteStorage(dst, data []byte, format string) ([]byte, error) {
	switch {
	case len(data) > MaxBytes || len(format) > MaxBytes:
		return dst, ErrTooLarge
	case !utf8.ValidString(format):
		return dst, fmt.Errorf("%w: the format token is not UTF-8", ErrLayout)
	}
	buf := blocks.Get().(*[]byte)
	defer putBlock(buf)
	block, ok := appendCompressed((*buf)[:0], data)
	if !ok {
		block = appendLiteral(block[:0], data)
	}
	*buf = block
	if len(block)+len(format)+maxHeaders > MaxBytes {
		return dst, ErrTooLarge
	}
	dst = slices.Grow(dst, len(block)+len(format)+maxHeaders)
	dst = mpack.AppendBytes(append(dst, 0x94), block)
	var sum [8]byte
	binary.BigEndian.PutUint64(sum[:], xxh3.Hash(data))
	dst = append(dst, 0x98)
	for _, b := range sum {
		dst = mpack.AppendUint(dst, uint64(b))
	}
	return mpack.AppendString(mpack.AppendUint(dst, uint64(len(data))), format), nil
}

// maxHeaders is what an envelope has at most beside its block and its format.
const maxHeaders = 1 + 5 + 1 + 8*2 + 5 + 5

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
	e, err := r.byteStorage()
	switch {
	case err != nil:
		return nil, "", err
	case len(r.rest) > 0:
		return nil, "", ErrTrailing
	}
	if err := bounded(e.size, e.compressed, limit); err != nil {
		return nil, "", err
	}
	if e.block == nil {
		e.block = make([]byte, e.compressed)
		e.ints.fill(e.block)
	}
	data, err = appendDecompressed(nil, e.block, int(e.size))
	switch {
	case err != nil:
		return nil, "", err
	case xxh3.Hash(data) != e.sum:
		return nil, "", ErrChecksum
	}
	return data, e.format(), nil
}

// byteStorage is an envelope whose layout has been checked; nothing has been
// allocated for it.
type byteStorage struct {
	block      []byte // nil if it is an array of integers
	ints       reader // of that array
	compressed int
	sum, size  uint64
	token      []byte
}

func (r *reader) byteStorage() (e byteStorage, err error) {
	if err = r.array(4); err != nil {
		return
	}
	if r.is(arrays) {
		e.compressed, e.ints, err = r.octets()
	} else {
		e.block, err = r.bytes(binaries)
		e.compressed = len(e.block)
	}
	if err != nil {
		return
	}
	n, elems, err := r.octets()
	if err != nil || n != 8 {
		return e, ErrLayout
	}
	var sum [8]byte
	elems.fill(sum[:])
	e.sum = binary.BigEndian.Uint64(sum[:])
	if e.size, err = r.item(unsigned); err != nil {
		return
	}
	e.token, err = r.bytes(textForms)
	if err != nil || !utf8.Valid(e.token) {
		return e, ErrLayout
	}
	return e, nil
}

func (e *byteStorage) format() string {
	const usual = "msgpack"
	if string(e.token) == usual {
		return usual
	}
	return string(e.token)
}
