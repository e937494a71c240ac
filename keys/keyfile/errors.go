package keyfile

import "errors"

// The classes of failure. The text behind each says what to do. None of them
// holds a key, a passphrase or a byte of a file.
var (
	// ErrFormat: the file is not a keyring file, is cut short, or says things
	// that contradict each other.
	ErrFormat = errors.New("keyfile: not a well-formed keyring file")
	// ErrVersion: the file has a version that this package does not know.
	ErrVersion = errors.New("keyfile: the keyring file is of a later version: upgrade this program")
	// ErrProtection: the file does not open under the given protection. It is
	// the wrong passphrase, identity or KMS key, the file was tampered with, or
	// it has another kind of protection than the program asks for.
	ErrProtection = errors.New("keyfile: the keyring file does not open")
	// ErrKMS: the KMS refused or could not be reached. Its error is in the
	// chain, and only its code in the text.
	ErrKMS = errors.New("keyfile: the KMS did not do its part")
	// ErrRollback: the file is older than, or another one than, what this
	// process has loaded already, or makes a key current that this process has
	// seen demoted.
	ErrRollback = errors.New("keyfile: the keyring file goes back")
	// ErrUnsafe: a file is not safe to use as it lies there: no regular file, a
	// symbolic link, owned by somebody else, open to group or others, too large.
	ErrUnsafe = errors.New("keyfile: unsafe file")
	// ErrLocked: another process is changing the keyring file.
	ErrLocked = errors.New("keyfile: another process is changing the keyring file: try again when it is done")
	// ErrTransition: the role of a key does not allow the step, or the keyring
	// has no such key.
	ErrTransition = errors.New("keyfile: that step is not possible")
)
