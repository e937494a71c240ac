package main

import (
	"github.com/spf13/cobra"

	"github.com/cachekit-io/cachekit-go/keys/keyfile"
)

func (a *app) keyringDestroy() *cobra.Command {
	var f changeFlags
	var yes bool
	c := &cobra.Command{
		Use:   "destroy ID --yes",
		Short: "Remove the bytes of a retired key",
		Long: text(`
			destroy removes the bytes of a retired key from the file. Its tombstone stays, so
			that the key can never come back. What is still sealed under it is lost. Backups
			of the file, and blocks that the disk has not overwritten, may still hold it.`),
		Example: text(`
			keytool keyring destroy "$OLD" --yes --keyring ring.json --passphrase-file pass.txt`),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !yes {
				return fail(codeUsage, "this cannot be undone: add --yes")
			}
			return a.change(cmd.Context(), f, func(d *keyfile.Document) (string, error) {
				k, err := find(d, args[0])
				if err != nil {
					return "", err
				}
				return k.ID, d.Destroy(k.ID, now())
			})
		},
	}
	f.add(c)
	c.Flags().BoolVar(&yes, "yes", false, "yes, destroy it")
	return c
}
