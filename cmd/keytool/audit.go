package main

import (
	"github.com/spf13/cobra"

	"github.com/cachekit-io/cachekit-go/internal/rekey"
)

func (a *app) audit() *cobra.Command {
	var f walkFlags
	var ages bool
	c := &cobra.Command{
		Use:   "audit",
		Short: "Count which key each stored entry is sealed under",
		Long: text(`
			audit walks the storage that the environment selects, opens every entry and
			counts by key. It changes nothing and shows no value. Entries that open under no
			key are counted as unauthenticated; what they look like is a guess, because
			sealed bytes carry no mark.

			It ends with 1 if an entry is left under an old key or does not authenticate.
			The JSON document is what "keyring retire --audit" takes.`),
		Example: text(`
			keytool audit --prefix users:
			keytool audit --tenant-of accounts=acme --tenant-of orders=globex --json > audit.json
			keytool audit --keys-from keys.txt`),
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w, err := a.walk(cmd.Context(), f, func(c *rekey.Config) error { c.Ages = ages; return nil })
			return a.finish(w, err, w.Left > 0 || w.Unauthenticated > 0)
		},
	}
	f.add(c)
	c.Flags().BoolVar(&ages, "ages", true, "count entries without expiry, at a round trip each")
	return c
}
