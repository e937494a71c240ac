package keyfile

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/cachekit-io/cachekit-go/internal/secret"
)

// redacted is embedded in every type that holds key material or a passphrase,
// so that none of them prints it, whatever the verb, logger or marshaller.
type redacted struct{}

// Format prints "[redacted]" for every verb and flag.
func (redacted) Format(f fmt.State, _ rune) { io.WriteString(f, secret.Redacted) }

// String returns "[redacted]".
func (redacted) String() string { return secret.Redacted }

// LogValue returns "[redacted]".
func (redacted) LogValue() slog.Value { return slog.StringValue(secret.Redacted) }

// MarshalText returns "[redacted]", which also covers JSON.
func (redacted) MarshalText() ([]byte, error) { return []byte(secret.Redacted), nil }
