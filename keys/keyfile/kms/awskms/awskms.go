// Package awskms protects keyring files with a key of AWS KMS.
package awskms

import (
	"context"

	"github.com/tink-crypto/tink-go-awskms/v3/integration/awskms"

	"github.com/cachekit-io/cachekit-go/keys/keyfile"
	"github.com/cachekit-io/cachekit-go/keys/keyfile/internal/kmserr"
)

// Open returns the protection under the key that keyURI names:
// aws-kms://arn:aws:kms:REGION:ACCOUNT:key/ID, or :alias/NAME. Credentials,
// endpoint (AWS_ENDPOINT_URL_KMS) and retries are those of the AWS SDK's default
// configuration, the region is the URI's. A program that serves needs
// kms:Decrypt alone, whoever changes the file kms:Encrypt too. ctx bounds
// reading the configuration. The error is keyfile.ErrKMS.
func Open(ctx context.Context, keyURI string) (*keyfile.Protection, error) {
	client, err := awskms.NewClientWithOptions(ctx, keyURI)
	if err != nil {
		return nil, kmserr.New(keyfile.ErrKMS, err)
	}
	return keyfile.KMS(client, keyURI)
}
