package keyfile

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// Create writes d to a new file of mode 0600, as generation 1, under p. The file
// appears whole or not at all.
//
// It refuses a path at which there is anything (fs.ErrExist), and fails with
// what the file system says, ErrLocked, ErrUnsafe, ErrKMS or ErrProtection.
func Create(ctx context.Context, path string, p *Protection, d *Document) error {
	if p == nil {
		return errNoProtection
	}
	release, err := lockFile(ctx, path)
	if err != nil {
		return err
	}
	defer release()
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("keyfile: it is never overwritten: %w", &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist})
	}
	next := d.copy()
	next.generation, next.written = 1, stamp(time.Now())
	text, err := p.sealFile(ctx, next)
	if err != nil {
		return err
	}
	if err := writeFile(path, text, true); err != nil {
		return err
	}
	d.generation, d.written, d.protection = next.generation, next.written, p.kind
	return nil
}

// Read returns the document in the file at path. It takes no lock: the file is
// replaced as a whole. opts may be nil; only Mounted matters.
//
// The error is ErrUnsafe, ErrFormat, ErrVersion, ErrProtection, ErrKMS, or what
// the file system says.
func Read(ctx context.Context, path string, p *Protection, opts *Options) (*Document, error) {
	if p == nil {
		return nil, errNoProtection
	}
	text, err := readFile(path, maxFileBytes, opts.mounted())
	if err != nil {
		return nil, err
	}
	defer clear(text)
	return p.openFile(ctx, text)
}

// Update reads the file at path, lets change work on its document, and replaces
// the file by the outcome, one generation on. Other writers are excluded
// meanwhile, readers are not. When change returns an error, or anything else
// fails, the file stays as it was.
//
// The errors are those of Read and Create, ErrLocked after five seconds of
// waiting for another writer, and what change returns. Links are never followed
// here. If the error says that the file is written but may not survive a power
// failure, the change has been made.
func Update(ctx context.Context, path string, p *Protection, change func(*Document) error) error {
	release, err := lockFile(ctx, path)
	if err != nil {
		return err
	}
	defer release()
	d, err := Read(ctx, path, p, nil)
	if err != nil {
		return err
	}
	if err := change(d); err != nil {
		return err
	}
	if d.generation >= maxGeneration {
		return fmt.Errorf("%w: the file has had its last generation", ErrTransition)
	}
	if d.next != nil {
		p, d.recipients = d.next, nil
	}
	d.generation, d.written = d.generation+1, stamp(time.Now())
	text, err := p.sealFile(ctx, d)
	if err != nil {
		return err
	}
	return writeFile(path, text, false)
}

// Probe says under what protection the file at path claims to be, and which KMS
// key it names, without opening it. It is for asking an operator for the right
// thing; a program that serves must know what it expects.
func Probe(path string, opts *Options) (protection, keyURI string, err error) {
	text, err := readFile(path, maxFileBytes, opts.mounted())
	if err != nil {
		return "", "", err
	}
	defer clear(text)
	h, err := parseHeader(text)
	if err != nil {
		return "", "", err
	}
	if !validKind(h.Protection) {
		return "", "", fmt.Errorf("%w: its kind of protection is unknown", ErrVersion)
	}
	return h.Protection, h.KeyURI, nil
}
