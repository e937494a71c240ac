package keyfile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// The format is written down in docs/keyring-file.md.
const (
	format  = "cachekit-keyring"
	version = 1
	// maxGeneration is the last integer that every JSON reader gets right.
	maxGeneration = 1<<53 - 1
	// maxDocumentBytes and maxFileBytes bound what is parsed and what is read.
	maxDocumentBytes = 512 << 10
	maxFileBytes     = 1 << 20
)

// header is what the outer object of a file and the document have in common.
type header struct {
	Format     string `json:"format"`
	Version    int    `json:"version"`
	Protection string `json:"protection"`
}

// outer is a protected file.
type outer struct {
	header
	KeyURI string `json:"kek_uri,omitempty"`
	Sealed []byte `json:"sealed"`
}

// inner is the document; with cleartext protection it is the file.
type inner struct {
	header
	Keyring    string          `json:"keyring"`
	Generation uint64          `json:"generation"`
	Written    time.Time       `json:"written_at"`
	Recipients []string        `json:"recipients,omitempty"`
	Keys       []innerKey      `json:"keys"`
	Keyset     json.RawMessage `json:"keyset"`
}

type innerKey struct {
	ID        string    `json:"id"`
	TinkID    uint32    `json:"tink_key_id,omitempty"`
	Role      Role      `json:"role"`
	Created   time.Time `json:"created_at"`
	Promoted  time.Time `json:"promoted_at,omitzero"`
	Demoted   time.Time `json:"demoted_at,omitzero"`
	Retired   time.Time `json:"retired_at,omitzero"`
	Destroyed time.Time `json:"destroyed_at,omitzero"`
	Note      string    `json:"note,omitempty"`
}

// sealFile returns the bytes of a file with the document d.
func (p *Protection) sealFile(ctx context.Context, d *Document) ([]byte, error) {
	to := p.recipients
	if p.kind == kindAge && to == nil {
		if to = d.recipients; to == nil {
			to = p.fallback
		}
	}
	plain, err := d.marshal(p.kind, to)
	if err != nil || p.kind == kindCleartext {
		return plain, err
	}
	defer clear(plain)
	sealed, err := p.seal(ctx, plain, to)
	if err != nil {
		return nil, err
	}
	return marshalOuter(p, sealed)
}

func marshalOuter(p *Protection, sealed []byte) ([]byte, error) {
	text, err := json.Marshal(outer{header{format, version, p.kind}, p.keyURI, sealed})
	return append(text, '\n'), err
}

func (d *Document) marshal(kind string, recipients []string) ([]byte, error) {
	if err := d.validate(); err != nil {
		return nil, err
	}
	set, err := writeKeyset(d.handle)
	if err != nil {
		return nil, fmt.Errorf("keyfile: writing the keyset: %w", err)
	}
	defer clear(set)
	in := inner{
		header: header{format, version, kind}, Keyring: d.ring, Generation: d.generation,
		Written: d.written, Recipients: recipients, Keyset: set,
	}
	for _, r := range d.records {
		in.Keys = append(in.Keys, innerKey{r.ID, r.tinkID, r.Role, r.Created, r.Promoted, r.Key.Demoted, r.Key.Retired, r.Key.Destroyed, r.Note})
	}
	text, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("keyfile: writing the document: %w", err)
	}
	if len(text) >= maxDocumentBytes {
		clear(text)
		return nil, fmt.Errorf("%w: the document has %d bytes, the most is %d", ErrTransition, len(text), maxDocumentBytes)
	}
	return append(text, '\n'), nil
}

// openFile returns the document in the bytes of a file.
func (p *Protection) openFile(ctx context.Context, text []byte) (*Document, error) {
	h, err := parseHeader(text)
	switch {
	case err != nil:
		return nil, err
	case h.Protection != p.kind:
		return nil, p.otherKind(h.Protection)
	case p.kind == kindCleartext:
		return parseDocument(text, p.kind)
	}
	var file outer
	if err := strict(text, &file); err != nil {
		return nil, err
	}
	if file.KeyURI != p.keyURI {
		return nil, fmt.Errorf("%w: it names another KMS key than this program", ErrProtection)
	}
	plain, err := p.open(ctx, file.Sealed)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	return parseDocument(plain, p.kind)
}

// parseHeader tells files that are something else, or too new, from those that
// are broken. It is lenient about the rest.
func parseHeader(text []byte) (outer, error) {
	var h outer
	if len(text) > maxFileBytes {
		return h, fmt.Errorf("%w: it has more than %d bytes", ErrFormat, maxFileBytes)
	}
	err := json.Unmarshal(text, &struct {
		*header
		KeyURI *string `json:"kek_uri"`
	}{&h.header, &h.KeyURI})
	switch {
	case h.Format == format && h.Version > version:
		return h, fmt.Errorf("%w: it has version %d, this program knows %d", ErrVersion, h.Version, version)
	case err != nil:
		return h, fmt.Errorf("%w: it is no JSON object, or is cut short", ErrFormat)
	case h.Format != format:
		return h, fmt.Errorf("%w: it is a file of another kind", ErrFormat)
	case h.Version != version:
		return h, fmt.Errorf("%w: its version is not %d", ErrFormat, version)
	}
	return h, nil
}

// parseDocument parses and validates a document, which says of itself under
// what protection it was written.
func parseDocument(text []byte, kind string) (*Document, error) {
	if len(text) > maxDocumentBytes {
		return nil, fmt.Errorf("%w: the document has more than %d bytes", ErrFormat, maxDocumentBytes)
	}
	var in inner
	defer func() { clear(in.Keyset) }()
	if err := strict(text, &in); err != nil {
		return nil, err
	}
	raw, err := hex.DecodeString(in.Keyring)
	switch {
	case in.header != header{format, version, kind}:
		return nil, fmt.Errorf("%w: the document is one for another purpose, version or protection than its file", ErrFormat)
	case err != nil || len(raw) != 16 || strings.ToLower(in.Keyring) != in.Keyring:
		return nil, fmt.Errorf("%w: its id is malformed", ErrFormat)
	case in.Generation < 1 || in.Generation > maxGeneration || in.Written.IsZero():
		return nil, fmt.Errorf("%w: its generation or its time is missing or out of range", ErrFormat)
	case len(in.Recipients) > 0 && kind != kindAge:
		return nil, fmt.Errorf("%w: it has recipients without age", ErrFormat)
	}
	d := &Document{ring: in.Keyring, generation: in.Generation, written: stamp(in.Written), protection: kind, recipients: in.Recipients, sum: sha256.Sum256(text)}
	for _, k := range in.Keys {
		d.records = append(d.records, record{tinkID: k.TinkID, Key: Key{
			ID: k.ID, Role: k.Role, Note: k.Note, Created: stamp(k.Created), Promoted: stamp(k.Promoted),
			Demoted: stamp(k.Demoted), Retired: stamp(k.Retired), Destroyed: stamp(k.Destroyed),
		}})
	}
	if d.handle, err = readKeyset(in.Keyset); err != nil {
		return nil, err
	}
	if err := d.validate(); err != nil {
		return nil, err
	}
	return d, nil
}

// strict decodes one JSON object: no unknown and no repeated names, nothing
// after it. Its errors do not repeat the input, as those of package json do.
func strict(text []byte, v any) error {
	if err := checkNames(json.NewDecoder(bytes.NewReader(text))); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("%w: a field is unknown, missing its type, or cut short", ErrFormat)
	}
	if _, err := dec.Token(); err != io.EOF {
		return fmt.Errorf("%w: something follows it", ErrFormat)
	}
	return nil
}

// checkNames refuses names that an object has twice, whatever their case:
// readers differ in which of them counts.
func checkNames(dec *json.Decoder) error {
	type object struct {
		names map[string]bool // nil for an array
		value bool            // a value comes next
	}
	var open []object
	for {
		t, err := dec.Token()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return errors.New("it is no JSON")
		}
		var top *object
		if len(open) > 0 {
			top = &open[len(open)-1]
		}
		if name, ok := t.(string); ok && top != nil && top.names != nil && !top.value {
			if name = strings.ToLower(name); top.names[name] {
				return errors.New("a name is there twice")
			}
			top.names[name], top.value = true, true
			continue
		}
		switch t {
		case json.Delim('{'):
			open = append(open, object{names: map[string]bool{}})
			continue
		case json.Delim('['):
			open = append(open, object{})
			continue
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
		}
		if len(open) > 0 {
			open[len(open)-1].value = false
		}
	}
}
