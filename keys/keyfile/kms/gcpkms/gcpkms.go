// Package gcpkms protects keyring files with a key of Google Cloud KMS.
package gcpkms

import (
	"context"

	"github.com/tink-crypto/tink-go-gcpkms/v2/integration/gcpkms"

	"github.com/cachekit-io/cachekit-go/keys/keyfile"
	"github.com/cachekit-io/cachekit-go/keys/keyfile/internal/kmserr"
)

// Open returns the protection under the key that keyURI names:
// gcp-kms://projects/P/locations/L/keyRings/R/cryptoKeys/K. Credentials are the
// application's default ones. A program that serves needs
// cloudkms.cryptoKeyVersions.useToDecrypt alone. ctx bounds finding the
// credentials. The error is keyfile.ErrKMS.
func Open(ctx context.Context, keyURI string) (*keyfile.Protection, error) {
	client, err := gcpkms.NewClient(ctx, keyURI)
	if err != nil {
		return nil, kmserr.New(keyfile.ErrKMS, err)
	}
	return keyfile.KMS(client, keyURI)
}
