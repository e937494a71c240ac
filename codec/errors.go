package codec

import (
	"errors"
	"fmt"
	"reflect"
)

// ErrMalformed is in the chain of every refusal of a document that is not
// exactly one well-formed MessagePack value within the bounds.
var ErrMalformed = errors.New("codec: malformed MessagePack document")

// The reasons for ErrMalformed.
var (
	// ErrTruncated: the document ends before it is complete, or a header claims
	// more than the rest of the input could hold.
	ErrTruncated = fmt.Errorf("%w: it claims more than its bytes hold", ErrMalformed)
	// ErrTrailing: bytes follow the document.
	ErrTrailing = fmt.Errorf("%w: bytes follow it", ErrMalformed)
	// ErrDepth: it is nested deeper than MaxDepth.
	ErrDepth = fmt.Errorf("%w: it is nested deeper than %d levels", ErrMalformed, MaxDepth)
	// ErrMarker: it contains the reserved byte 0xc1 where a value should be.
	ErrMarker = fmt.Errorf("%w: it contains the reserved marker 0xc1", ErrMalformed)
	// ErrUTF8: a string in it is not UTF-8.
	ErrUTF8 = fmt.Errorf("%w: a string is not valid UTF-8", ErrMalformed)
	// ErrPythonFrame: it is a frame of the Python SDK's auto mode, which no
	// other SDK reads.
	ErrPythonFrame = fmt.Errorf("%w: it is a Python auto-mode frame (CK): write it with @cache(interop=...) there", ErrMalformed)
)

// TypeError says that a value and a Go type do not fit each other. Its text
// never holds the value.
type TypeError struct {
	// Type is the Go type.
	Type reflect.Type
	// Path leads from the outermost value to the one that does not fit, by
	// field names; "" is the outermost itself. Keys of maps are not shown.
	Path string
	// Reason says what is wrong.
	Reason string
}

// Error names the path, the type and the reason.
func (e *TypeError) Error() string {
	at := ""
	if e.Path != "" {
		at = " at " + e.Path
	}
	return fmt.Sprintf("codec: %s%s: %s", typeName(e.Type), at, e.Reason)
}

func typeName(t reflect.Type) string {
	if t == nil {
		return "nil"
	}
	return t.String()
}

// within prefixes the path of a TypeError with a field's name.
func within(name string, err error) error {
	if e, ok := err.(*TypeError); ok {
		if e.Path != "" {
			name += "."
		}
		e.Path = name + e.Path
	}
	return err
}
