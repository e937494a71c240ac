package secret

import (
	"fmt"
	"io"
	"log/slog"
)

// Redacted is what every form of printing shows in place of secret bytes.
const Redacted = "[redacted]"

// Unprintable makes a type that embeds it print as Redacted, whatever the verb,
// logger or marshaller. Public types embed it under an unexported alias.
//
// It covers a value that is printed itself; fmt goes past methods into the
// unexported fields of a struct around it, so the bytes must be a Bytes too.
type Unprintable struct{}

// Format prints Redacted for every verb and flag.
func (Unprintable) Format(f fmt.State, _ rune) { io.WriteString(f, Redacted) }

// String returns Redacted.
func (Unprintable) String() string { return Redacted }

// LogValue returns Redacted.
func (Unprintable) LogValue() slog.Value { return slog.StringValue(Redacted) }

// MarshalText returns Redacted, which also covers JSON, XML and gob.
func (Unprintable) MarshalText() ([]byte, error) { return []byte(Redacted), nil }
