package testvectors

import (
	"errors"
	"fmt"

	"github.com/cachekit-io/cachekit-go/codec"
	"github.com/cachekit-io/cachekit-go/codec/container"
)

// containerClasses are the refusals of both containers.
var containerClasses = map[string]error{
	"layout": container.ErrLayout, "method": container.ErrMethod, "trailing": container.ErrTrailing, "too_large": container.ErrTooLarge,
	"ratio": container.ErrRatio, "lz4": container.ErrLZ4, "size": container.ErrSize, "checksum": container.ErrChecksum,
}

func checkByteStorage(c struct {
	header
	Envelope []segment `json:"envelope"`
	Data     []segment `json:"data"`
	Format   string    `json:"format"`
}) error {
	envelope, err := build(c.Envelope)
	if err != nil {
		return err
	}
	want, err := build(c.Data)
	if err != nil {
		return err
	}
	got, format, err := container.OpenByteStorage(envelope, 0)
	if err != nil || format != c.Format {
		return fmt.Errorf("format %q, %v", format, err)
	}
	if err := same("data", got, want); err != nil {
		return err
	}
	// What we write ourselves must open to the same data.
	ours, err := container.AppendByteStorage(nil, want, c.Format)
	if err != nil {
		return err
	}
	got, _, err = container.OpenByteStorage(ours, 0)
	if err != nil {
		return err
	}
	return same("data through our own envelope", got, want)
}

func checkByteStorageRefused(c struct {
	header
	Envelope hexBytes `json:"envelope_hex"`
	Class    string   `json:"class"`
}) error {
	_, _, err := container.OpenByteStorage(c.Envelope, 0)
	return classified(err, c.Class, containerClasses)
}

func checkByteStorageDocument(c struct {
	header
	Envelope hexBytes `json:"envelope_hex"`
	Class    string   `json:"class"`
}) error {
	doc, _, err := container.OpenByteStorage(c.Envelope, 0)
	if err != nil {
		return err
	}
	return classified(codec.Check(doc), c.Class, readClasses)
}

func checkV2(c struct {
	header
	Container []segment `json:"container"`
	Doc       []segment `json:"doc"`
}) error {
	sealed, err := build(c.Container)
	if err != nil {
		return err
	}
	want, err := build(c.Doc)
	if err != nil {
		return err
	}
	got, err := container.OpenV2(nil, sealed, maxBuilt)
	if err != nil {
		return err
	}
	if err := same("document", got, want); err != nil {
		return err
	}
	ours, err := container.AppendV2(nil, want)
	if err != nil {
		return err
	}
	got, err = container.OpenV2(nil, ours, maxBuilt)
	if err != nil {
		return err
	}
	return same("document through our own container", got, want)
}

func checkV2Refused(c struct {
	header
	Container hexBytes `json:"container_hex"`
	Class     string   `json:"class"`
}) error {
	_, err := container.OpenV2(nil, c.Container, maxBuilt)
	return classified(err, c.Class, containerClasses)
}

type boundsCase struct {
	header
	Construction []segment `json:"construction"`
	Length       int       `json:"length"`
	Class        string    `json:"class"`
}

func (c boundsCase) build() ([]byte, error) {
	doc, err := build(c.Construction)
	if err == nil && len(doc) != c.Length {
		err = fmt.Errorf("the construction has %d bytes, want %d", len(doc), c.Length)
	}
	return doc, err
}

func checkBoundsRefused(c boundsCase) error {
	doc, err := c.build()
	if err != nil {
		return err
	}
	err = codec.Check(doc)
	if c.Class == "depth_or_truncated" && (errors.Is(err, codec.ErrDepth) || errors.Is(err, codec.ErrTruncated)) {
		return nil
	}
	return classified(err, c.Class, readClasses)
}

func checkBoundsAccepted(c boundsCase) error {
	doc, err := c.build()
	if err != nil {
		return err
	}
	var v any
	return codec.Unmarshal(doc, &v)
}
