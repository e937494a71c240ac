package httpbackend

import (
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"golang.org/x/net/http/httpguts"

	"github.com/cachekit-io/cachekit-go/internal/secret"
)

// Credential is a header that authenticates requests. It prints as "[redacted]",
// whatever the verb, logger or marshaller. The zero value is no credential.
type Credential struct {
	name  string
	value secret.Bytes
}

// Bearer is "Authorization: Bearer token" (RFC 6750).
func Bearer(token string) Credential { return SecretHeader("Authorization", "Bearer "+token) }

// Basic is "Authorization: Basic ..." (RFC 7617).
func Basic(user, password string) Credential {
	return SecretHeader("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
}

// SecretHeader is any other header that holds a secret. [Open] refuses one that
// is not valid.
func SecretHeader(name, value string) Credential {
	return Credential{name: http.CanonicalHeaderKey(name), value: secret.New([]byte(value))}
}

// IsZero reports whether c is no credential.
func (c Credential) IsZero() bool { return c.value.IsZero() }

func (c Credential) reason() string {
	if !c.IsZero() && (!settable(c.name) || !httpguts.ValidHeaderFieldValue(string(c.value.Reveal()))) {
		return "Options.Credential is not a valid header; the usual cause is a line break around the secret"
	}
	return ""
}

func (c Credential) set(h http.Header) {
	if !c.IsZero() {
		h[c.name] = []string{string(c.value.Reveal())}
	}
}

// Format prints "[redacted]" for every verb and flag.
func (c Credential) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, secret.Redacted) }

// String returns "[redacted]".
func (c Credential) String() string { return secret.Redacted }

// LogValue returns "[redacted]".
func (c Credential) LogValue() slog.Value { return slog.StringValue(secret.Redacted) }

// MarshalText returns "[redacted]", which also covers JSON.
func (c Credential) MarshalText() ([]byte, error) { return []byte(secret.Redacted), nil }
