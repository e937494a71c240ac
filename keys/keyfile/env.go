package keyfile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cachekit-io/cachekit-go/internal/secret"
	"github.com/cachekit-io/cachekit-go/keys"
)

// Names of the variables that FromEnv reads.
const (
	// EnvKeyring is the path of the keyring file.
	EnvKeyring = "CACHEKIT_KEYRING"
	// EnvPassphraseFile is the path of a file that holds the passphrase.
	EnvPassphraseFile = "CACHEKIT_KEYRING_PASSPHRASE_FILE"
	// EnvIdentityFile is the path of an age identity file.
	EnvIdentityFile = "CACHEKIT_KEYRING_IDENTITY_FILE"
)

// maxSecretBytes bounds passphrase and identity files.
const maxSecretBytes = 64 << 10

// FromEnv returns the keyring file that the environment names as a source:
// CACHEKIT_KEYRING, opened with what is in CACHEKIT_KEYRING_PASSPHRASE_FILE or
// in CACHEKIT_KEYRING_IDENTITY_FILE, which must be as safe as the keyring file
// itself; one line end after a passphrase does not count. Both are looked at
// again together. A file under a KMS key or in the clear is opened in code, with
// Open. opts may be nil.
//
// The environment is read each time the source is asked. keys.ErrEnvironment is
// its error if CACHEKIT_KEYRING is not set or empty, beside CACHEKIT_MASTER_KEY
// or CACHEKIT_PREVIOUS_MASTER_KEYS, or without exactly one of the other two.
func FromEnv(opts *Options) *Source {
	r := &envResolver{mounted: opts.mounted()}
	return newSource(opts, r.resolve)
}

// envResolver keeps the Protection while the file behind it stays the same. It
// is called by one goroutine at a time.
type envResolver struct {
	mounted bool
	name    string
	content secret.Bytes
	p       *Protection
}

func (r *envResolver) resolve() (string, *Protection, error) {
	path, name, file, err := readEnv()
	if err != nil {
		return "", nil, fmt.Errorf("%w: %w", keys.ErrEnvironment, err)
	}
	text, err := readFile(file, maxSecretBytes, r.mounted)
	if err != nil {
		return "", nil, fmt.Errorf("%w: %s: %w", keys.ErrEnvironment, name, err)
	}
	defer clear(text)
	content := secret.New(text)
	if r.p != nil && r.name == name && r.content.Equal(content) {
		return path, r.p, nil
	}
	p, err := protectionOf(name, text)
	if err != nil {
		return "", nil, fmt.Errorf("%w: %s: %w", keys.ErrEnvironment, name, err)
	}
	r.name, r.content, r.p = name, content, p
	return path, p, nil
}

func protectionOf(name string, text []byte) (*Protection, error) {
	if name == EnvIdentityFile {
		return Age(text)
	}
	text = bytes.TrimSuffix(text, []byte("\n"))
	return Passphrase(bytes.TrimSuffix(text, []byte("\r")))
}

// readEnv returns the path of the keyring file, and the one of the two variables
// that says what opens it.
func readEnv() (path, name, file string, err error) {
	path = os.Getenv(EnvKeyring)
	if strings.TrimSpace(path) == "" {
		return "", "", "", errors.New(EnvKeyring + " is not set: give it the path of a keyring file")
	}
	for _, other := range []string{keys.EnvMasterKey, keys.EnvPreviousMasterKeys} {
		if v, set := os.LookupEnv(other); set && (other == keys.EnvMasterKey || strings.TrimSpace(v) != "") {
			return "", "", "", fmt.Errorf("%s and %s are both set: unset one of them", EnvKeyring, other)
		}
	}
	for _, n := range []string{EnvPassphraseFile, EnvIdentityFile} {
		v, set := os.LookupEnv(n)
		switch {
		case !set:
			continue
		case strings.TrimSpace(v) == "":
			return "", "", "", errors.New(n + " is set but empty: give it a path or unset it")
		case name != "":
			return "", "", "", fmt.Errorf("%s and %s are both set: unset one of them", EnvPassphraseFile, EnvIdentityFile)
		}
		name, file = n, v
	}
	if name == "" {
		return "", "", "", fmt.Errorf("%s needs %s or %s beside it (a KMS key is given in code, see package keyfile)", EnvKeyring, EnvPassphraseFile, EnvIdentityFile)
	}
	return path, name, file, nil
}
