package keyfile

import (
	"context"
	"time"
)

// Exported for tests: what takes a second and 256 MiB in earnest takes neither.
func QuickPassphrase(text string) (*Protection, error) { return passphrase([]byte(text), 4) }

// Seal returns the bytes of a file that holds document, whatever that is.
func (p *Protection) Seal(document []byte) ([]byte, error) {
	if p.kind == kindCleartext {
		return document, nil
	}
	sealed, err := p.seal(context.Background(), document, p.fallback)
	if err != nil {
		return nil, err
	}
	return marshalOuter(p, sealed)
}

// Open parses the bytes of a file.
func (p *Protection) Open(file []byte) (*Document, error) {
	return p.openFile(context.Background(), file)
}

// Bytes returns the bytes of a file with d as the given generation.
func (d *Document) Bytes(p *Protection, generation uint64) ([]byte, error) {
	c := d.copy()
	c.generation, c.written = generation, stamp(time.Unix(1800000000, 0))
	return p.sealFile(context.Background(), c)
}

// Plain returns the document as it is sealed.
func (d *Document) Plain(kind string, generation uint64) ([]byte, error) {
	c := d.copy()
	c.generation, c.written = generation, stamp(time.Unix(1800000000, 0))
	return c.marshal(kind, nil)
}

// Custom is a protection of the kind of age that seal and open make.
func Custom(seal, open func([]byte) []byte) *Protection {
	return &Protection{
		kind: kindAge,
		seal: func(_ context.Context, plain []byte, _ []string) ([]byte, error) { return seal(plain), nil },
		open: func(_ context.Context, sealed []byte) ([]byte, error) { return open(sealed), nil },
	}
}

const DefaultWatch = defaultWatch

var (
	LockFile      = lockFile
	WriteFile     = writeFile
	KeyID         = keyID
	MaxFileBytes  = maxFileBytes
	MaxGeneration = uint64(maxGeneration)
)
