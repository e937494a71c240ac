package cachekitio

import (
	"strings"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/pathkey"
)

// The rules of the service for keys (spec/cache-key-format.md, "Server-Side
// Requirements"), and its own paths below the cache.
const (
	maxKeyBytes       = 400
	maxNamespaceBytes = 64
)

var keyRules = backends.KeyRules{MaxBytes: maxKeyBytes, Refuse: refuseKey}

// KeyRules implements [backends.KeyRuler].
func (b *Backend) KeyRules() backends.KeyRules { return keyRules }

func refuseKey(key string) string {
	switch _, err := pathkey.Encode(key); {
	case err != nil:
		return "key is one of the names that the API keeps for itself"
	case strings.Contains(key, ".."):
		return `key contains "..", which CachekitIO refuses`
	case strings.IndexFunc(key, notKey) >= 0:
		return "CachekitIO takes keys of A-Z a-z 0-9 _ . : - only (Options.KeyNameSecret of package secure gives every key such a form)"
	}
	for _, space := range []string{"ns:", "nsapi:"} {
		if rest, ok := strings.CutPrefix(key, space); ok {
			if namespace, _, ok := strings.Cut(rest, ":"); ok && !validNamespace(namespace) {
				return `the namespace after "` + space + `" is not 1 to 64 of A-Z a-z 0-9 _ -`
			}
		}
	}
	return ""
}

const keyAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:-"

func notKey(r rune) bool { return !strings.ContainsRune(keyAlphabet, r) }

func validNamespace(s string) bool {
	return len(s) >= 1 && len(s) <= maxNamespaceBytes && strings.IndexFunc(s, func(r rune) bool { return r == '.' || r == ':' || notKey(r) }) < 0
}
