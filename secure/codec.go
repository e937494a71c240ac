package secure

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"github.com/cachekit-io/cachekit-go/codec"
	"github.com/cachekit-io/cachekit-go/codec/container"
	"github.com/cachekit-io/cachekit-go/internal/envelope"
)

// maxPooled is the largest buffer that is kept for reuse.
const maxPooled = 1 << 20

// scratch is what a document needs between the codec and the envelope. What is
// kept past a call is copied out of it.
type scratch struct {
	buf     []byte
	decoder codec.Decoder
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func newScratch() *scratch { return scratches.Get().(*scratch) }

func (s *scratch) release() {
	if cap(s.buf) <= maxPooled {
		scratches.Put(s)
	}
}

// encode appends the document of v to dst, in a container in interop/v2.
func (c *core) encode(dst []byte, v any) ([]byte, error) {
	if !c.v2 {
		return c.encodeV1(dst, v)
	}
	s := newScratch()
	defer s.release()
	doc, err := c.encodeV1(s.buf[:0], v)
	if err != nil {
		return dst, err
	}
	s.buf = doc
	return container.AppendV2(dst, doc)
}

func (c *core) encodeV1(dst []byte, v any) ([]byte, error) {
	doc, err := codec.Append(dst, v)
	if err != nil {
		return dst, fmt.Errorf("%w: %w", ErrType, err)
	}
	if size := len(doc) - len(dst); size > c.maxValueBytes {
		return dst, fmt.Errorf("%w: it takes %d bytes, Options.MaxValueBytes is %d", ErrTooLarge, size, c.maxValueBytes)
	}
	return doc, nil
}

// decode stores the document doc, which has been authenticated, in dst.
func (c *core) decode(doc []byte, dst any) error {
	s := newScratch()
	defer s.release()
	return c.decodeWith(&s.decoder, doc, dst)
}

func (c *core) decodeWith(d *codec.Decoder, doc []byte, dst any) error {
	if !c.v2 {
		return d.Unmarshal(doc, dst)
	}
	s := newScratch()
	defer s.release()
	inner, err := container.OpenV2(s.buf[:0], doc, c.maxValueBytes)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	s.buf = inner
	return d.Unmarshal(inner, dst)
}

// seal serialises and seals v for the storage key name.
func (c *core) seal(now time.Time, name string, v any) (envelope.Sealed, error) {
	s := newScratch()
	defer s.release()
	doc, err := c.encode(s.buf[:0], v)
	if err != nil {
		return envelope.Sealed{}, err
	}
	s.buf = doc
	return c.sealDoc(now, name, doc), nil
}

// sealDoc seals a document that encode made.
func (c *core) sealDoc(now time.Time, name string, doc []byte) envelope.Sealed {
	k := c.keys.Load()
	sealed := k.box.Seal(now, name, doc)
	if k.box.Seals() >= envelope.SealBudget {
		k.budget.Do(func() {
			c.note(context.Background(), slog.LevelWarn, Event{Kind: "seal_budget"}, "", "2^32 entries sealed under one key: rotate the master key")
		})
	}
	return sealed
}

// open authenticates r and stores its value in dst. The document is never kept.
func (c *core) open(r envelope.Received, dst any) (envelope.Sealed, error) {
	if limit := c.maxSealedBytes(); r.Len() > limit {
		return envelope.Sealed{}, fmt.Errorf("%w: the stored entry has %d bytes, the limit is %d", ErrTooLarge, r.Len(), limit)
	}
	s := newScratch()
	defer s.release()
	doc, sealed, err := c.keys.Load().box.Open(s.buf[:0], r)
	if err != nil {
		return envelope.Sealed{}, err
	}
	s.buf = doc
	return sealed, c.decodeWith(&s.decoder, doc, dst)
}

// reopen is open for a copy of the in-process layer; opened is false if it did not
// authenticate.
func (c *core) reopen(copied envelope.Sealed, dst any) (opened bool, err error) {
	if copied.Len() > c.maxSealedBytes() {
		return false, nil
	}
	s := newScratch()
	defer s.release()
	doc, err := c.keys.Load().box.Reopen(s.buf[:0], copied)
	if err != nil {
		return false, nil
	}
	s.buf = doc
	return true, c.decodeWith(&s.decoder, doc, dst)
}

// maxSealedBytes leaves room for the container around a value that does not
// compress.
func (c *core) maxSealedBytes() int {
	return c.maxValueBytes + envelope.Overhead + c.maxValueBytes/128 + 64
}

// assign stores an in-process object in dst, a pointer to its type or to an
// interface that it satisfies.
func assign(dst, object any) error {
	p := reflect.ValueOf(dst)
	if p.Kind() != reflect.Pointer || p.IsNil() {
		return fmt.Errorf("%w: the destination is a %T, not a pointer", ErrType, dst)
	}
	to := p.Elem()
	if object == nil {
		to.SetZero()
		return nil
	}
	from := reflect.ValueOf(object)
	if !from.Type().AssignableTo(to.Type()) {
		return fmt.Errorf("%w: the cache holds a %s, the destination is a %s", ErrType, from.Type(), to.Type())
	}
	to.Set(from)
	return nil
}

// openDoc authenticates r and returns its document in memory of its own.
func (c *core) openDoc(r envelope.Received) ([]byte, envelope.Sealed, error) {
	if limit := c.maxSealedBytes(); r.Len() > limit {
		return nil, envelope.Sealed{}, fmt.Errorf("%w: the stored entry has %d bytes, the limit is %d", ErrTooLarge, r.Len(), limit)
	}
	doc, sealed, err := c.keys.Load().box.Open(nil, r)
	if err != nil {
		return nil, envelope.Sealed{}, err
	}
	return doc, sealed, nil
}
