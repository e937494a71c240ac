package container

import (
	"fmt"
	"slices"

	"github.com/cachekit-io/cachekit-go/internal/mpack"
)

// The interop/v2 container (spec/interop-v2.md, "The v2 Value Container").
const (
	v2Magic   = 0xc1 // never used in MessagePack, so no v1 value begins so
	v2Version = 0x02

	methodNone = 0
	methodLZ4  = 1
)

// AppendV2 appends the interop/v2 container of the MessagePack document doc to
// dst. It compresses doc if that makes it smaller: read the package doc first.
// doc must not overlap the capacity of dst. The error is ErrTooLarge; dst is
// returned as it was then.
func AppendV2(dst, doc []byte) ([]byte, error) {
	if len(doc) > MaxBytes {
		return dst, ErrTooLarge
	}
	buf := blocks.Get().(*[]byte)
	defer putBlock(buf)
	method, payload := byte(methodNone), doc
	if block, ok := appendCompressed((*buf)[:0], doc); ok {
		*buf = block
		method, payload = methodLZ4, block
	}
	dst = slices.Grow(dst, len(payload)+maxV2Headers)
	dst = append(dst, v2Magic, v2Version, 0x93, method)
	return mpack.AppendBytes(mpack.AppendUint(dst, uint64(len(doc))), payload), nil
}

// maxV2Headers is what a container has at most beside its payload.
const maxV2Headers = 4 + 5 + 5

// OpenV2 appends the document in the interop/v2 container data to dst and
// returns the extended slice; data must not overlap the capacity of dst. limit
// bounds the document in bytes, beside MaxBytes; 0 is no further limit. The
// error is one of the reasons for ErrMalformed; dst is returned as it was then,
// though bytes between its length and its capacity may have changed.
func OpenV2(dst, data []byte, limit int) ([]byte, error) {
	switch {
	case len(data) > 1 && data[0] == 'C' && data[1] == 'K':
		return dst, fmt.Errorf("%w: it is a Python auto-mode frame (CK)", ErrLayout)
	case len(data) == 0 || data[0] != v2Magic:
		return dst, fmt.Errorf("%w: no interop/v2 magic: is the value in interop/v1?", ErrLayout)
	case len(data) < 2 || data[1] != v2Version:
		return dst, fmt.Errorf("%w: unknown version", ErrLayout)
	}
	r := reader{data[2:]}
	method, size, payload, err := r.v2Body()
	switch {
	case err != nil:
		return dst, err
	case len(r.rest) > 0:
		return dst, ErrTrailing
	case tooLarge(size, len(payload), limit):
		return dst, ErrTooLarge
	case method == methodNone && size != uint64(len(payload)):
		return dst, ErrSize
	case method == methodNone:
		return append(dst, payload...), nil
	case method != methodLZ4:
		return dst, ErrMethod
	}
	if err := bounded(size, len(payload), limit); err != nil {
		return dst, err
	}
	return appendDecompressed(dst, payload, int(size))
}

func (r *reader) v2Body() (method, size uint64, payload []byte, err error) {
	if err = r.array(3); err != nil {
		return 0, 0, nil, err
	}
	if method, err = r.item(unsigned); err != nil {
		return 0, 0, nil, err
	}
	if size, err = r.item(unsigned); err != nil {
		return 0, 0, nil, err
	}
	payload, err = r.bytes(binaries)
	return method, size, payload, err
}
