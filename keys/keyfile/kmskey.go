package keyfile

import (
	"context"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/core/registry"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/cachekit-io/cachekit-go/keys/keyfile/internal/kmserr"
)

// KMS protects a file with the key keyURI of a KMS, through Tink's envelope
// encryption: a fresh AES-256-GCM key seals the document, and the KMS seals that
// key. client is one of Tink's; package kms makes them from a URI. The file names
// keyURI; one that names another does not open (ErrProtection).
//
// Who may encrypt under keyURI can make a file that opens: grant that to
// operators alone, and to programs only to decrypt. Who may decrypt and has one
// file has its data key, which seals another document as well: so owner and mode
// of the file matter here too. The errors are ErrKMS here and later.
func KMS(client registry.KMSClient, keyURI string) (*Protection, error) {
	if client == nil || !client.Supported(keyURI) {
		return nil, fmt.Errorf("%w: its client does not support that key URI", ErrKMS)
	}
	kek, err := client.GetAEAD(keyURI)
	if err != nil {
		return nil, kmserr.New(ErrKMS, err)
	}
	envelope, err := aead.NewKMSEnvelopeAEADWithContext(aead.AES256GCMKeyTemplate(), remote{kek})
	if err != nil {
		return nil, kmserr.New(ErrKMS, err)
	}
	data := []byte(purpose + kindKMS + "/" + keyURI)
	return &Protection{
		kind: kindKMS, keyURI: keyURI,
		seal: func(ctx context.Context, plain []byte, _ []string) ([]byte, error) {
			return envelope.EncryptWithContext(ctx, plain, data)
		},
		open: func(ctx context.Context, sealed []byte) ([]byte, error) {
			plain, err := envelope.DecryptWithContext(ctx, sealed, data)
			if err != nil && !errors.Is(err, ErrKMS) {
				return nil, fmt.Errorf("%w: it was tampered with or cut short", ErrProtection)
			}
			return plain, err
		},
	}, nil
}

// remote marks the errors of a KMS as such, and passes the context on to
// clients that take one.
type remote struct{ kek tink.AEAD }

func (r remote) EncryptWithContext(ctx context.Context, plain, data []byte) ([]byte, error) {
	return r.call(ctx, plain, data, r.kek.Encrypt, tink.AEADWithContext.EncryptWithContext)
}

func (r remote) DecryptWithContext(ctx context.Context, sealed, data []byte) ([]byte, error) {
	return r.call(ctx, sealed, data, r.kek.Decrypt, tink.AEADWithContext.DecryptWithContext)
}

func (r remote) call(ctx context.Context, in, data []byte,
	plain func(in, data []byte) ([]byte, error),
	bounded func(a tink.AEADWithContext, ctx context.Context, in, data []byte) ([]byte, error),
) (out []byte, err error) {
	if a, ok := r.kek.(tink.AEADWithContext); ok {
		out, err = bounded(a, ctx, in, data)
	} else {
		out, err = plain(in, data)
	}
	if err != nil {
		return nil, kmserr.New(ErrKMS, err)
	}
	return out, nil
}
