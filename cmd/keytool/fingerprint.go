package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/cachekit-io/cachekit-go/keys"
)

// fingerprinted is one key in the result of fingerprint.
type fingerprinted struct {
	Tenant      string `json:"tenant"`
	Role        string `json:"role"`
	Fingerprint string `json:"fingerprint"`
}

func (a *app) fingerprint() *cobra.Command {
	var source keyFlags
	var tenants []string
	c := &cobra.Command{
		Use:   "fingerprint",
		Short: "Show which keys a tenant's entries are sealed under",
		Long: text(`
			fingerprint prints the fingerprint of each key of the keyring for each tenant,
			the current key first: the name that statistics, logs, audit and inspect use for
			a key. It is derived from the tenant's encryption key, so it differs from tenant
			to tenant; a master key has none of its own.`),
		Example: text(`
			keytool fingerprint
			keytool fingerprint --key-file master.key --tenant acme --tenant globex
			keytool generate | keytool fingerprint --key-file -`),
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ring, err := a.keyring(cmd.Context(), source)
			if err != nil {
				return err
			}
			var all []fingerprinted
			var lines []string
			for _, tenant := range tenants {
				prints, err := ring.Fingerprints(tenant)
				if err != nil {
					return fail(codeUsage, "--tenant: %w", err)
				}
				for i, p := range prints {
					f := fingerprinted{tenant, role(i), p.String()}
					all, lines = append(all, f), append(lines, fmt.Sprintf("%s  %-8s  %s", f.Fingerprint, f.Role, f.Tenant))
				}
			}
			return a.print(all, lines...)
		},
	}
	source.add(c)
	c.Flags().StringArrayVar(&tenants, "tenant", []string{keys.DefaultTenant}, "`tenant` to derive for; may be given several times")
	return c
}

// role names a key by its place in a keyring.
func role(place int) string {
	if place == 0 {
		return "current"
	}
	return "previous"
}
