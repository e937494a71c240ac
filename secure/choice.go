package secure

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/keys"
)

// Why a step of the chain decides.
const (
	whyOption   = "an option comes before everything else"
	whyDefault  = "the default backend comes before the environment"
	whySelector = "it is the one selector that the environment sets"
	whyPlainURL = "the environment sets none of the four selectors"
	whyKeys     = "the options have no key"
)

const nameDefault = "SetDefaultBackend"

// kinds are the storages that variables choose.
var kinds = map[string]string{
	envAPIKey: "cachekitio", envRedis: "redis", envMemcached: "memcached", envFile: "file", envPlainURL: "redis",
}

// Resolution says what a constructor would use, and why.
type Resolution struct {
	Backend Choice
	Keys    Choice
}

// Choice is one step of the resolution. It holds names only: no URL, path or
// key, and can be printed in every way.
type Choice struct {
	// Source is what decides: the name of an option ("Options.Backend"),
	// "SetDefaultBackend", or the name of a variable. "" if Err is set.
	Source string
	// Kind is what it is: a storage ("redis", "file", ...), the Go type of what
	// was passed in, or for keys how many there are.
	Kind string
	// Why is the rule by which Source decides.
	Why string
	// PassedOver names, in the order of the chain, what is set besides and does
	// not count.
	PassedOver []string
	// Err is why there is no choice: ErrConfig, with the text that says what to
	// change.
	Err error
}

// String describes the choice in one line.
func (c Choice) String() string {
	if c.Err != nil {
		return "none: " + c.Err.Error()
	}
	text := fmt.Sprintf("%s, from %s: %s", c.Kind, c.Source, c.Why)
	if len(c.PassedOver) > 0 {
		text += "; passed over: " + strings.Join(c.PassedOver, ", ")
	}
	return text
}

// Resolve reports where New, NewProduction and NewMinimal would take their
// backend and their master keys from, given opts (nil is the zero Options). It
// opens nothing, asks neither a storage nor Options.Keyring, and shows no
// secret; the environment's keys are parsed. Plaintext is judged as NewMinimal
// does.
//
// The error is what the constructor would return before it opened anything:
// ErrConfig. The Resolution is filled as far as possible then.
func Resolve(opts *Options) (Resolution, error) { return resolve(profileMinimal, opts) }

// ResolveIO is Resolve for NewIO.
func ResolveIO(opts *Options) (Resolution, error) { return resolve(profileIO, opts) }

func resolve(p profile, opts *Options) (Resolution, error) {
	if opts == nil {
		opts = new(Options)
	}
	r := Resolution{Backend: chooseBackend(p, opts).Choice, Keys: chooseKeys(opts)}
	if _, err := p.settings(opts); err != nil {
		return r, err
	}
	if r.Keys.Err != nil {
		return r, r.Keys.Err
	}
	return r, r.Backend.Err
}

// chosen is the choice of a backend with what it takes to open it.
type chosen struct {
	Choice
	backend backends.Backend // passed in, or nil
	value   string           // of the variable
}

// chooseBackend walks the chain of the backend: options, default, environment.
func chooseBackend(p profile, o *Options) chosen {
	fallback := defaultBackend.Load()
	switch {
	case p.ownBackend:
		return chosen{Choice: chooseIO(o, fallback != nil)}
	case o.L1Only:
		return chosen{Choice: Choice{Source: "Options.L1Only", Kind: "in the process", Why: whyOption, PassedOver: withDefault(fallback != nil)}}
	case o.Backend != nil:
		return chosen{Choice{Source: "Options.Backend", Kind: fmt.Sprintf("%T", o.Backend), Why: whyOption, PassedOver: withDefault(fallback != nil)}, o.Backend, ""}
	case fallback != nil:
		return chosen{Choice{Source: nameDefault, Kind: fmt.Sprintf("%T", *fallback), Why: whyDefault, PassedOver: withDefault(false)}, *fallback, ""}
	}
	name, value, err := selected()
	if err != nil {
		return chosen{Choice: Choice{Err: err}}
	}
	c := Choice{Source: name, Kind: kinds[name], Why: whySelector}
	if name == envPlainURL {
		c.Why = whyPlainURL
	} else {
		c.PassedOver = present(envPlainURL)
	}
	return chosen{c, nil, value}
}

// withDefault names everything after the options that is set.
func withDefault(isSet bool) (names []string) {
	if isSet {
		names = append(names, nameDefault)
	}
	return append(names, present(append(slices.Clone(selectors), envPlainURL)...)...)
}

// present returns those of the variables that are set.
func present(names ...string) (set []string) {
	for _, name := range names {
		if _, ok := os.LookupEnv(name); ok {
			set = append(set, name)
		}
	}
	return set
}

// chooseKeys walks the chain of the master keys. What Options.Keyring reads is
// its own affair, so nothing is passed over beside it.
func chooseKeys(o *Options) Choice {
	all := func() []string { return present(keys.EnvMasterKey, keys.EnvPreviousMasterKeys, envKeyring) }
	switch {
	case o.Plaintext:
		return Choice{Source: "Options.Plaintext", Kind: "no encryption", Why: whyOption, PassedOver: all()}
	case o.Keyring != nil:
		return Choice{Source: "Options.Keyring", Kind: fmt.Sprintf("%T", o.Keyring), Why: whyOption}
	}
	_, ring, err := resolveKeyring(context.Background(), o)
	switch {
	case err != nil:
		return Choice{Err: err}
	case !o.MasterKey.IsZero():
		return Choice{Source: "Options.MasterKey", Kind: ringKind(ring), Why: whyOption, PassedOver: all()}
	}
	return Choice{Source: keys.EnvMasterKey, Kind: ringKind(ring), Why: whyKeys}
}

func ringKind(ring *keys.Keyring) string {
	switch n := ring.Len() - 1; n {
	case 0:
		return "one key"
	case 1:
		return "one key and one decrypt-only key"
	default:
		return fmt.Sprintf("one key and %d decrypt-only keys", n)
	}
}
