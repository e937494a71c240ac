package keyfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"filippo.io/age"

	"github.com/cachekit-io/cachekit-go/internal/secret"
)

const (
	// minPassphraseBytes keeps out what is guessed in no time.
	minPassphraseBytes = 12
	// workFactor is scrypt's log2(N): about a second and 256 MiB (age's own
	// default). Files that ask for more are refused.
	workFactor = 18
	// maxRecipients bounds an age header.
	maxRecipients = 64
)

// Passphrase protects a file with age's scrypt recipient; the file is
// authenticated by whoever knows the passphrase. It copies text, which must have
// at least 12 bytes (ErrProtection); take one that a generator made. Opening and
// writing cost about a second and 256 MiB of memory for that time each: where
// that is too much, take Age or KMS.
func Passphrase(text []byte) (*Protection, error) {
	return passphrase(text, workFactor)
}

func passphrase(text []byte, work int) (*Protection, error) {
	if len(text) < minPassphraseBytes {
		return nil, fmt.Errorf("%w: a passphrase of %d bytes, want at least %d", ErrProtection, len(text), minPassphraseBytes)
	}
	hidden := secret.New(text)
	return &Protection{
		kind: kindPassphrase,
		seal: func(_ context.Context, plain []byte, _ []string) ([]byte, error) {
			r, err := age.NewScryptRecipient(string(hidden.Reveal()))
			if err != nil {
				return nil, err
			}
			r.SetWorkFactor(work)
			return ageSeal(plain, r)
		},
		open: func(_ context.Context, sealed []byte) ([]byte, error) {
			i, err := age.NewScryptIdentity(string(hidden.Reveal()))
			if err != nil {
				return nil, err
			}
			i.SetMaxWorkFactor(workFactor)
			return ageOpen(sealed, "the passphrase is another one", i)
		},
	}, nil
}

// Age protects a file with age's native recipients (age1..., age1pq1...).
//
// identities is the content of an age identity file, one AGE-SECRET-KEY- to a
// line; it is parsed, not kept. Without any, the Protection can create a file and
// nothing else. recipients are whom the next write encrypts to; the file records
// them, and a later write that names none keeps them. A new file that names none
// is encrypted to the identities themselves. A write that none of the given
// identities could open is refused (ErrProtection), and so is a text that does
// not parse.
//
// Whoever knows the recipients, which are no secret, can make a file that opens.
// A running process refuses it, because it does not know the id of the keyring;
// one that starts cannot. So owner and mode of the file matter here too.
func Age(identities []byte, recipients ...string) (*Protection, error) {
	var ids []age.Identity
	if len(bytes.TrimSpace(identities)) > 0 {
		var err error
		if ids, err = age.ParseIdentities(bytes.NewReader(identities)); err != nil {
			return nil, fmt.Errorf("%w: the identities are none of age's: give lines that begin with AGE-SECRET-KEY-1", ErrProtection)
		}
	}
	if len(recipients) > 0 {
		if _, err := parseRecipients(recipients); err != nil {
			return nil, err
		}
	}
	p := &Protection{kind: kindAge, recipients: slices.Clone(recipients), fallback: ownRecipients(ids)}
	p.seal = func(_ context.Context, plain []byte, to []string) ([]byte, error) { return ageSealTo(plain, ids, to) }
	p.open = func(_ context.Context, sealed []byte) ([]byte, error) {
		if len(ids) == 0 {
			return nil, fmt.Errorf("%w: no identity was given", ErrProtection)
		}
		return ageOpen(sealed, "none of the identities is a recipient of it", ids...)
	}
	return p, nil
}

func parseRecipients(texts []string) ([]age.Recipient, error) {
	if len(texts) == 0 || len(texts) > maxRecipients {
		return nil, fmt.Errorf("%w: it has %d recipients, want 1 to %d", ErrProtection, len(texts), maxRecipients)
	}
	out, err := age.ParseRecipients(strings.NewReader(strings.Join(texts, "\n")))
	if err != nil || len(out) != len(texts) {
		return nil, fmt.Errorf("%w: a recipient is none of age's native ones (age1...)", ErrProtection)
	}
	return out, nil
}

func ownRecipients(ids []age.Identity) (out []string) {
	for _, id := range ids {
		switch id := id.(type) {
		case *age.X25519Identity:
			out = append(out, id.Recipient().String())
		case *age.HybridIdentity:
			out = append(out, id.Recipient().String())
		}
	}
	return out
}

func ageSealTo(plain []byte, ids []age.Identity, to []string) ([]byte, error) {
	recipients, err := parseRecipients(to)
	if err != nil {
		return nil, err
	}
	sealed, err := ageSeal(plain, recipients...)
	if err != nil || len(ids) == 0 {
		return sealed, err
	}
	again, err := ageOpen(sealed, "your own identity is not among the recipients: you would lock yourself out", ids...)
	clear(again)
	return sealed, err
}

func ageSeal(plain []byte, to ...age.Recipient) ([]byte, error) {
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to...)
	if err != nil {
		return nil, fmt.Errorf("keyfile: age: %w", err)
	}
	if _, err := w.Write(plain); err != nil {
		return nil, fmt.Errorf("keyfile: age: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("keyfile: age: %w", err)
	}
	return out.Bytes(), nil
}

// ageOpen reads to the end, where age authenticates that nothing was cut off.
func ageOpen(sealed []byte, mismatch string, ids ...age.Identity) ([]byte, error) {
	var none *age.NoIdentityMatchError
	r, err := age.Decrypt(bytes.NewReader(sealed), ids...)
	switch {
	case errors.As(err, &none):
		return nil, fmt.Errorf("%w: %s, or the file was tampered with", ErrProtection, mismatch)
	case err != nil:
		return nil, fmt.Errorf("%w: it was tampered with or cut short", ErrProtection)
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxDocumentBytes+1))
	if err != nil {
		clear(plain)
		return nil, fmt.Errorf("%w: it was tampered with or cut short", ErrProtection)
	}
	return plain, nil
}
