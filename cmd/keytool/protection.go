package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cachekit-io/cachekit-go/keys/keyfile"
	"github.com/cachekit-io/cachekit-go/keys/keyfile/kms"
)

// ringFlags name a keyring file and what opens it.
type ringFlags struct {
	path       string
	passphrase string
	identity   string
	recipients []string
	clear      bool
	kek        string
	generation uint64
}

func (f *ringFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.path, "keyring", "", "keyring `file` (default: $"+keyfile.EnvKeyring+")")
	f.addProtection(c)
}

// addProtection adds the flags for how a keyring file is sealed.
func (f *ringFlags) addProtection(c *cobra.Command) {
	c.Flags().StringVar(&f.passphrase, "passphrase-file", "", "`file` with the passphrase of the keyring file, - for standard input")
	c.Flags().StringVar(&f.identity, "identity", "", "age identity `file` that opens the keyring file")
	c.Flags().StringArrayVar(&f.recipients, "recipient", nil, "age `recipient` to encrypt the keyring file to, with --identity; may be given several times")
	c.Flags().StringVar(&f.kek, "kek-uri", "", "`URI` of the KMS key of the keyring file: aws-kms://, gcp-kms:// or hcvault://; its credentials come from the environment")
	c.Flags().BoolVar(&f.clear, "cleartext", false, "the keyring file is not encrypted, and so not authenticated either")
	c.Flags().Uint64Var(&f.generation, "min-generation", 0, "refuse a keyring file that is older than generation `N`, as \"keyring show\" last showed it")
	c.MarkFlagsMutuallyExclusive("passphrase-file", "identity", "kek-uri", "cleartext")
}

// errNoRing asks for the name of a keyring file.
var errNoRing = &failure{codeUsage, errors.New("name the keyring file with --keyring or $" + keyfile.EnvKeyring)}

// readRing opens the keyring file that f names.
func (a *app) readRing(ctx context.Context, f *ringFlags) (*keyfile.Document, error) {
	if err := f.resolve(); err != nil {
		return nil, err
	}
	p, err := a.protection(ctx, *f, false)
	if err != nil {
		return nil, err
	}
	d, err := keyfile.Read(ctx, f.path, p, nil)
	if err == nil {
		err = f.admit(d)
	}
	return d, classified(err)
}

// given reports whether a flag names a file, or what opens that of the environment.
func (f *ringFlags) given() bool {
	return f.path != "" || f.passphrase != "" || f.identity != "" || f.kek != "" || f.clear || f.generation > 0
}

// admit refuses a file that is older than the operator knows: nothing in a file
// tells that there has been a later one.
func (f *ringFlags) admit(d *keyfile.Document) error {
	if d.Generation() < f.generation {
		return fail(codeUsage, "%w: %s has generation %d, older than --min-generation %d: put the latest file back", keyfile.ErrRollback, f.path, d.Generation(), f.generation)
	}
	return nil
}

// resolve fills in what no flag says from the variables that a program would go
// by.
func (f *ringFlags) resolve() error {
	if f.path == "" {
		f.path = os.Getenv(keyfile.EnvKeyring)
	}
	if f.path == "" {
		return errNoRing
	}
	if f.passphrase == "" && f.identity == "" && f.kek == "" && !f.clear {
		f.passphrase, f.identity = os.Getenv(keyfile.EnvPassphraseFile), os.Getenv(keyfile.EnvIdentityFile)
	}
	if f.passphrase != "" && f.identity != "" {
		return fail(codeUsage, "%s and %s are both set: unset one of them", keyfile.EnvPassphraseFile, keyfile.EnvIdentityFile)
	}
	return nil
}

// protection returns what opens the file that f names, or is to seal it. Where
// no flag says so, a file under a passphrase has it asked for on the terminal.
func (a *app) protection(ctx context.Context, f ringFlags, create bool) (*keyfile.Protection, error) {
	switch {
	case f.clear:
		a.note("warning: the keyring file is in the clear: whoever can write it can change keys unnoticed")
		return keyfile.Cleartext(), nil
	case f.kek != "":
		return openKMS(ctx, f.kek)
	case f.identity != "":
		text, err := a.readSecret(f.identity)
		if err != nil {
			return nil, err
		}
		p, err := keyfile.Age([]byte(text), f.recipients...)
		return p, local(err)
	case len(f.recipients) > 0:
		return nil, fail(codeUsage, "--recipient needs --identity, or nobody here could open the file again")
	}
	return a.passphrase(ctx, f, create)
}

// openKMS links the clients of all three: a tool for operators cannot know which.
func openKMS(ctx context.Context, uri string) (*keyfile.Protection, error) {
	scheme, _, _ := strings.Cut(uri, "://")
	if !slices.Contains([]string{"aws-kms", "gcp-kms", "hcvault"}, scheme) {
		return nil, fail(codeUsage, "--kek-uri begins with aws-kms://, gcp-kms:// or hcvault://")
	}
	p, err := kms.Open(ctx, uri)
	return p, local(err)
}

func (a *app) passphrase(ctx context.Context, f ringFlags, create bool) (*keyfile.Protection, error) {
	var text string
	var err error
	switch {
	case f.passphrase != "":
		text, err = a.readSecret(f.passphrase)
	case create:
		text, err = a.askNew(ctx, "Passphrase for "+f.path)
	default:
		text, err = a.askFor(ctx, f)
	}
	if err != nil {
		return nil, err
	}
	p, err := keyfile.Passphrase([]byte(text))
	return p, local(err)
}

// askFor asks for the passphrase of an existing file, if it has one.
func (a *app) askFor(ctx context.Context, f ringFlags) (string, error) {
	kind, uri, err := keyfile.Probe(f.path, nil)
	switch {
	case err != nil:
		return "", local(err)
	case kind == "kms":
		return "", fail(codeUsage, "%s is encrypted under a KMS key: give --kek-uri %s, if you know that key", f.path, uri)
	case kind == "age":
		return "", fail(codeUsage, "%s is encrypted to age recipients: give --identity", f.path)
	case kind == "cleartext":
		return "", fail(codeUsage, "%s is not encrypted: give --cleartext if that is meant", f.path)
	}
	return a.ask(ctx, "Passphrase of "+f.path)
}

// local gives an error of a local file or key the exit code that belongs to it.
func local(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, keyfile.ErrKMS):
		return &failure{codeBackend, err}
	}
	return &failure{codeUsage, err}
}

// askNew asks twice.
func (a *app) askNew(ctx context.Context, what string) (string, error) {
	first, err := a.ask(ctx, what)
	if err != nil {
		return "", err
	}
	second, err := a.ask(ctx, what+", again")
	if err == nil && first != second {
		err = fail(codeUsage, "the two passphrases differ: nothing was written")
	}
	return first, err
}

// ask reads a line from the terminal without showing it.
func (a *app) ask(ctx context.Context, what string) (string, error) {
	text, err := readHidden(ctx, func() { fmt.Fprintf(a.errs, "%s: ", what) }, func() { fmt.Fprintln(a.errs) })
	switch {
	case ctx.Err() != nil:
		return "", fail(codeUsage, "interrupted: nothing was written")
	case err != nil:
		return "", fail(codeUsage, "a passphrase is needed and there is no terminal to ask on: give --passphrase-file (%w)", err)
	}
	return text, nil
}
