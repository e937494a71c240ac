package keys

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode/utf8"
)

const (
	// EnvMasterKey names the variable of the current key: hex text.
	EnvMasterKey = "CACHEKIT_MASTER_KEY"
	// EnvPreviousMasterKeys names the variable of the decrypt-only keys: hex
	// texts, separated by commas. Blank is the same as unset.
	EnvPreviousMasterKeys = "CACHEKIT_PREVIOUS_MASTER_KEYS"
)

// Environment is the source that reads CACHEKIT_MASTER_KEY and
// CACHEKIT_PREVIOUS_MASTER_KEYS each time it is asked.
//
// Its error is ErrNoKey if no master key is set. A variable that is set but
// unusable is ErrEnvironment together with the reason: a master key that is
// empty, not UTF-8, not hex or short; a bad, empty or repeated entry in the
// list; a list without a master key.
type Environment struct{}

// Keyring reads the environment.
func (Environment) Keyring(context.Context) (*Keyring, error) {
	previous, err := previousFromEnv()
	if err != nil {
		return nil, err
	}
	text, set := os.LookupEnv(EnvMasterKey)
	switch {
	case !set && len(previous) > 0:
		return nil, unusable(EnvPreviousMasterKeys, errors.New("it needs "+EnvMasterKey+" beside it"))
	case !set:
		return nil, fmt.Errorf("%w: set %s to 64 hex digits", ErrNoKey, EnvMasterKey)
	}
	current, err := parseEnv(text)
	if err != nil {
		return nil, unusable(EnvMasterKey, err)
	}
	ring, err := NewKeyring(current, previous...)
	if err != nil {
		return nil, unusable(EnvPreviousMasterKeys, err)
	}
	return ring, nil
}

// previousFromEnv trims blanks around entries, as every SDK of the family does;
// a wholly blank value is how deployments switch the variable off.
func previousFromEnv() ([]MasterKey, error) {
	list := os.Getenv(EnvPreviousMasterKeys)
	if strings.TrimSpace(list) == "" {
		return nil, nil
	}
	var previous []MasterKey
	for i, text := range strings.Split(list, ",") {
		k, err := parseEnv(strings.TrimSpace(text))
		if err != nil {
			return nil, unusable(EnvPreviousMasterKeys, fmt.Errorf("entry %d: %w", i+1, err))
		}
		previous = append(previous, k)
	}
	return previous, nil
}

func parseEnv(text string) (MasterKey, error) {
	switch {
	case text == "":
		return MasterKey{}, fmt.Errorf("%w: it is empty", ErrShortKey)
	case !utf8.ValidString(text):
		return MasterKey{}, fmt.Errorf("%w (it is not even UTF-8: a raw key?)", ErrNotHex)
	}
	return Hex(text)
}

func unusable(name string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrEnvironment, name, err)
}
