package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/keys/keyfile"
)

// keyFlags say where the keys of a command are.
type keyFlags struct {
	file string
	ring ringFlags
}

func (f *keyFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.file, "key-file", "", "`file` with one master key in hex, - for standard input (default: the environment)")
	f.ring.add(c)
	c.MarkFlagsMutuallyExclusive("key-file", "keyring")
}

// keyring returns the keys that the flags name, else those of the environment.
func (a *app) keyring(ctx context.Context, f keyFlags) (*keys.Keyring, error) {
	switch {
	case f.file != "":
		key, err := a.readKey(f.file)
		if err != nil {
			return nil, err
		}
		return keys.NewKeyring(key)
	case f.ring.given():
		d, err := a.readRing(ctx, &f.ring)
		if err != nil {
			return nil, err
		}
		ring, err := d.Keyring()
		return ring, local(err)
	}
	var source keys.Source = keys.Environment{}
	if _, set := os.LookupEnv(keyfile.EnvKeyring); set {
		source = keyfile.FromEnv(nil)
	}
	ring, err := source.Keyring(ctx)
	if err != nil {
		return nil, fail(codeUsage, "no usable key: %w", err)
	}
	return ring, nil
}

// maxSecretText bounds what is read of a file that holds one secret.
const maxSecretText = 64 << 10

// readKey reads a master key from a file that only its owner can read, or from
// standard input.
func (a *app) readKey(file string) (keys.MasterKey, error) {
	text, err := a.readSecret(file)
	if err != nil {
		return keys.MasterKey{}, err
	}
	key, err := keys.Hex(text)
	if err != nil {
		return keys.MasterKey{}, fail(codeUsage, "%s: %w", secretName(file), err)
	}
	return key, nil
}

// readSecret returns the text of a secret without the one line end behind it, as
// package keyfile reads passphrases.
func (a *app) readSecret(file string) (string, error) {
	f, err := a.secretFile(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecretText+1))
	defer clear(b)
	switch {
	case err != nil:
		return "", fail(codeUsage, "reading %s: %w", secretName(file), err)
	case len(b) > maxSecretText:
		return "", fail(codeUsage, "%s is too long for a secret", secretName(file))
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"), nil
}

func (a *app) secretFile(file string) (*os.File, error) {
	if file != "-" {
		return openSecret(file)
	}
	f, err := a.stdin()
	if err == nil && terminal(f) {
		err = fail(codeUsage, "standard input is a terminal, where a secret would be shown: pipe it in, or name a file")
	}
	return f, err
}

// descriptor is a path that names an open descriptor, such as the pipe of a
// shell's <(command).
var descriptor = regexp.MustCompile(`^/(dev|proc/self)/fd/[0-9]+$`)

// openSecret opens a regular file that nobody but its owner can read, or a pipe
// that was handed to this process.
func openSecret(file string) (*os.File, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, fail(codeUsage, "%w", err)
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case descriptor.MatchString(file) && info.Mode()&fs.ModeNamedPipe != 0:
		return f, nil
	case !info.Mode().IsRegular():
		err = errors.New("is not a regular file")
	case info.Mode().Perm()&0o077 != 0:
		err = errors.New("can be read or written by others: chmod 600 it, and consider the secret in it known")
	default:
		return f, nil
	}
	f.Close()
	return nil, fail(codeUsage, "%s: %w", file, err)
}

func secretName(file string) string {
	if file == "-" {
		return "standard input"
	}
	return file
}
