// Package kms protects keyring files with a key of AWS KMS, Google Cloud KMS or
// the transit engine of HashiCorp Vault, whichever a URI names.
//
//	p, err := kms.Open(ctx, "aws-kms://arn:aws:kms:eu-west-1:111122223333:key/...")
//	...
//	source := keyfile.Open("/etc/app/keyring.json", p, nil)
//
// It links the clients of all three, 20 MB more of a binary. A program that knows
// which one it uses imports awskms, gcpkms or vaultkms beside this package and
// pays for that alone. For any other KMS pass a Tink client to keyfile.KMS.
package kms

import (
	"context"
	"fmt"
	"strings"

	"github.com/cachekit-io/cachekit-go/keys/keyfile"
	"github.com/cachekit-io/cachekit-go/keys/keyfile/kms/awskms"
	"github.com/cachekit-io/cachekit-go/keys/keyfile/kms/gcpkms"
	"github.com/cachekit-io/cachekit-go/keys/keyfile/kms/vaultkms"
)

// Open returns the protection under the key that keyURI names by its scheme:
// aws-kms://, gcp-kms:// or hcvault://. Credentials come from where the client of
// each finds them; ctx bounds finding them, not later calls. The error is
// keyfile.ErrKMS.
func Open(ctx context.Context, keyURI string) (*keyfile.Protection, error) {
	switch scheme, _, _ := strings.Cut(keyURI, "://"); scheme {
	case "aws-kms":
		return awskms.Open(ctx, keyURI)
	case "gcp-kms":
		return gcpkms.Open(ctx, keyURI)
	case "hcvault":
		return vaultkms.Open(ctx, keyURI)
	}
	return nil, fmt.Errorf("%w: a key URI begins with aws-kms://, gcp-kms:// or hcvault://", keyfile.ErrKMS)
}
