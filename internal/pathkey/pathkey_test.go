package pathkey_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/cachekit-io/cachekit-go/internal/pathkey"
)

// The family's values are in testvectors (path_key); this is the property that
// they stand for: one segment, and the way back.
func FuzzEncode(f *testing.F) {
	for _, seed := range []string{"users:42", "../../admin", "k?x=1#f", "%2e%2e", "café", "\x00\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, key string) {
		encoded, err := pathkey.Encode(key)
		if err != nil {
			return
		}
		if strings.ContainsAny(encoded, "/?#\\ ") || encoded == "." || encoded == ".." {
			t.Errorf("%q is more than one segment", encoded)
		}
		if back, err := url.PathUnescape(encoded); err != nil || back != key {
			t.Errorf("%q does not come back: %q, %v", encoded, back, err)
		}
	})
}
