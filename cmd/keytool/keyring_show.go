package main

import (
	"github.com/spf13/cobra"
)

func (a *app) keyringShow() *cobra.Command {
	var f changeFlags
	c := &cobra.Command{
		Use:   "show",
		Short: "List the keys of a keyring file",
		Long: text(`
			show lists every key of the file: its id, its role, the fingerprint that it has
			for the tenant, and since when. It shows no key.`),
		Example: "keytool keyring show --keyring ring.json --passphrase-file pass.txt --tenant acme",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := a.readRing(cmd.Context(), &f.ring)
			if err != nil {
				return err
			}
			out, err := describe(f.ring.path, d, f.tenant)
			if err != nil {
				return err
			}
			return a.print(out, out.lines()...)
		},
	}
	f.add(c)
	return c
}
