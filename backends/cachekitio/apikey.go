package cachekitio

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/cachekit-io/cachekit-go/internal/secret"
)

// Class is what an API key may write; every class reads everything that its
// tenant's grants allow (spec/saas-api.md, "Authentication").
type Class uint8

// The classes of API keys. A key with another prefix is Unknown: the service
// refuses it, a compatible one may not.
const (
	Unknown Class = iota + 1
	// SDK keys (ck_sdk_) write keys in "ns:" and keys outside both spaces.
	SDK
	// Direct keys (ck_api_) write keys in "nsapi:" and keys outside both spaces.
	Direct
	// Legacy keys (ck_live_) write every key.
	Legacy
)

// prefixes are those of spec/saas-api.md, "Authentication".
var prefixes = map[Class]string{SDK: "ck_sdk_", Direct: "ck_api_", Legacy: "ck_live_"}

// maxAPIKeyBytes keeps a wrong file from becoming a header.
const maxAPIKeyBytes = 512

const notBearer = "the API key is not a bearer token of 1 to 512 characters (RFC 6750: A-Z a-z 0-9 - . _ ~ + / and = at the end); " +
	"the usual cause is a line break, a space or a byte-order mark around it"

// ErrAPIKey refuses an API key that is no bearer token.
var ErrAPIKey = errors.New("cachekitio: " + notBearer)

// APIKey authenticates a client and names its tenant. It prints as
// "[redacted]", whatever the verb, logger or marshaller. The zero value is no
// key.
type APIKey struct {
	bytes secret.Bytes
}

// ParseAPIKey takes an API key as it was issued; it trims nothing. The error is
// ErrAPIKey and does not hold the text.
func ParseAPIKey(text string) (APIKey, error) {
	body := strings.TrimRight(text, "=")
	if body == "" || len(text) > maxAPIKeyBytes || strings.IndexFunc(body, notToken) >= 0 {
		return APIKey{}, ErrAPIKey
	}
	return APIKey{secret.New([]byte(text))}, nil
}

// notToken reports whether r cannot be in a b64token (RFC 6750, 2.1).
func notToken(r rune) bool {
	letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
	return !letter && !strings.ContainsRune("-._~+/", r)
}

// IsZero reports whether k is no key.
func (k APIKey) IsZero() bool { return k.bytes.IsZero() }

// Class returns what k may write, by its prefix.
func (k APIKey) Class() Class {
	for class, prefix := range prefixes {
		if strings.HasPrefix(string(k.bytes.Reveal()), prefix) {
			return class
		}
	}
	return Unknown
}

func (k APIKey) bearer() string { return "Bearer " + string(k.bytes.Reveal()) }

// Format prints "[redacted]" for every verb and flag.
func (k APIKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, secret.Redacted) }

// String returns "[redacted]".
func (k APIKey) String() string { return secret.Redacted }

// LogValue returns "[redacted]".
func (k APIKey) LogValue() slog.Value { return slog.StringValue(secret.Redacted) }

// MarshalText returns "[redacted]", which also covers JSON.
func (k APIKey) MarshalText() ([]byte, error) { return []byte(secret.Redacted), nil }
