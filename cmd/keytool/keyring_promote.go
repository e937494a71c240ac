package main

import (
	"github.com/spf13/cobra"

	"github.com/cachekit-io/cachekit-go/keys/keyfile"
)

func (a *app) keyringPromote() *cobra.Command {
	var f changeFlags
	var at string
	c := &cobra.Command{
		Use:   "promote ID --deployed-at TIME",
		Short: "Make the staged key the current one",
		Long: text(`
			promote makes the staged key the one that seals; the one that did is demoted and
			only opens from then on. It cannot be taken back: a key that has been current
			never is again.

			No file can know whether every process has loaded the staged key, and one that has
			not cannot read what the others write from now on. --deployed-at is your word that
			the deployment of the file with the staged key was complete at that time.`),
		Example: text(`
			keytool keyring promote "$NEW" --deployed-at 2026-01-05T10:00:00Z --keyring ring.json --passphrase-file pass.txt`),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.change(cmd.Context(), f, func(d *keyfile.Document) (string, error) { return promote(d, args[0], at) })
		},
	}
	f.add(c)
	c.Flags().StringVar(&at, "deployed-at", "", "`time` since which every process has the staged key (RFC 3339, or now)")
	return c
}

func promote(d *keyfile.Document, id, at string) (string, error) {
	k, err := find(d, id)
	if err != nil {
		return "", err
	}
	if k.Role == keyfile.Staged {
		if _, err := deployed(at, "every process has the file with the staged key", k.Created); err != nil {
			return "", err
		}
	}
	return k.ID, d.Promote(k.ID, now())
}
