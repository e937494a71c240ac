package keys

import "errors"

var (
	// ErrNotHex refuses key text with a character that is not a hex digit
	// (spaces, line ends and a 0x prefix included) or with an odd number of them.
	ErrNotHex = errors.New("keys: master key is not hex: give 64 hex digits and nothing else")
	// ErrShortKey refuses a hex key of less than 32 bytes.
	ErrShortKey = errors.New("keys: master key is too short: at least 32 bytes (64 hex digits) are needed")
	// ErrRawLength refuses a raw key that is not exactly 32 bytes long.
	ErrRawLength = errors.New("keys: raw master key must be exactly 32 bytes: decode hex text with keys.Hex")
	// ErrNoKey says that a key is needed and none was given.
	ErrNoKey = errors.New("keys: no master key")
	// ErrTooManyKeys refuses a keyring with more than MaxPrevious decrypt-only keys.
	ErrTooManyKeys = errors.New("keys: keyring has more than 3 decrypt-only keys: drop the ones that no entry needs any more")
	// ErrCurrentRepeated refuses a keyring whose current key is decrypt-only too.
	ErrCurrentRepeated = errors.New("keys: the current key is also a decrypt-only key: rotation goes forward only, make a fresh key")
	// ErrKeyRepeated refuses a keyring with the same decrypt-only key twice.
	ErrKeyRepeated = errors.New("keys: a decrypt-only key is given twice")
	// ErrTenant refuses a tenant that is empty, over MaxTenantBytes or not UTF-8.
	ErrTenant = errors.New("keys: tenant must be 1 to 255 bytes of valid UTF-8")
	// ErrEnvironment wraps every complaint about a variable that is set but
	// unusable; the wrapped error says what is wrong with it.
	ErrEnvironment = errors.New("keys: environment variable is set but unusable")
	// ErrGrant is returned to code outside this module that asks for derived keys.
	ErrGrant = errors.New("keys: derived keys are not handed out")
)
