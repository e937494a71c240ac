package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/keys/keyfile"
)

func (a *app) keyringInit() *cobra.Command {
	var f changeFlags
	var note string
	c := &cobra.Command{
		Use:   "init",
		Short: "Make a new keyring file with a fresh key",
		Long: text(`
			init makes a keyring file of mode 0600 with one fresh key, the current one. An
			existing file is never overwritten. Without a flag that says how the file is
			protected, a passphrase is asked for on the terminal.`),
		Example: text(`
			keytool keyring init --keyring ring.json --passphrase-file pass.txt
			keytool keyring init --keyring ops.json --identity ops.agekey --recipient "$RECIPIENT"`),
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fresh, err := keys.NewKeyring(keys.Generate())
			if err != nil {
				return err
			}
			return a.createRing(cmd.Context(), f, fresh, note)
		},
	}
	f.add(c)
	c.Flags().StringVar(&note, "note", "", "`text` to remember with the key")
	return c
}

func (a *app) keyringImport() *cobra.Command {
	var f changeFlags
	var note string
	c := &cobra.Command{
		Use:   "import",
		Short: "Make a new keyring file of the keys in the environment",
		Long: text(`
			import makes a keyring file of CACHEKIT_MASTER_KEY, the current key, and
			CACHEKIT_PREVIOUS_MASTER_KEYS, which come in as demoted. Do it when no rotation
			is under way: a key that is staged there cannot be told from a demoted one, and
			could never be promoted here.`),
		Example: "keytool keyring import --keyring ring.json --passphrase-file pass.txt",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			env, err := keys.Environment{}.Keyring(cmd.Context())
			if err != nil {
				return local(err)
			}
			return a.createRing(cmd.Context(), f, env, note)
		},
	}
	f.add(c)
	c.Flags().StringVar(&note, "note", "imported", "`text` to remember with the keys")
	return c
}

func (a *app) createRing(ctx context.Context, f changeFlags, from *keys.Keyring, note string) error {
	if err := f.ring.resolve(); err != nil {
		return err
	}
	d, err := keyfile.NewDocument(from, note, now())
	if err != nil {
		return local(err)
	}
	if _, err := describe(f.ring.path, d, f.tenant); err != nil {
		return err
	}
	p, err := a.protection(ctx, f.ring, true)
	if err != nil {
		return err
	}
	if err := keyfile.Create(ctx, f.ring.path, p, d); err != nil {
		return existing(f.ring.path, err)
	}
	out, err := describe(f.ring.path, d, f.tenant)
	if err != nil {
		return err
	}
	return a.print(out, out.lines()...)
}
