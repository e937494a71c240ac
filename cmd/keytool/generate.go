package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/cachekit-io/cachekit-go/keys"
)

// generated is the result of generate.
type generated struct {
	Key         string `json:"key,omitempty"`
	File        string `json:"file,omitempty"`
	Kind        string `json:"kind"`
	Tenant      string `json:"tenant,omitempty"`
	Fingerprint string `json:"fingerprint,omitempty"`
}

func (a *app) generate() *cobra.Command {
	var file, tenant string
	var names bool
	c := &cobra.Command{
		Use:   "generate [-o FILE]",
		Short: "Make a fresh master key",
		Long: text(`
			generate makes a master key of 32 bytes from the operating system's generator and
			prints it as 64 hex digits, the form that CACHEKIT_MASTER_KEY takes in every SDK.

			With -o the key goes to a new file of mode 0600 instead, and the fingerprint is
			printed. An existing file is never overwritten. The fingerprint is that of the
			encryption key which the master key derives for the tenant.`),
		Example: text(`
			keytool generate -o master.key
			export CACHEKIT_MASTER_KEY="$(keytool generate)"
			keytool generate --name-secret -o names.key`),
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			raw := make([]byte, keys.MasterKeyBytes)
			rand.Read(raw)
			g := generated{Key: hex.EncodeToString(raw), Kind: "master-key"}
			if names {
				g.Kind = "name-secret"
			} else if err := g.identify(tenant); err != nil {
				return err
			}
			if file != "" {
				return a.generateFile(g, file)
			}
			a.warnReadable()
			if g.Fingerprint != "" {
				a.note("fingerprint %s (tenant %s)", g.Fingerprint, tenant)
			}
			return a.print(g, g.Key)
		},
	}
	c.Flags().StringVarP(&file, "output", "o", "", "write the key to a new `file` of mode 0600")
	c.Flags().StringVar(&tenant, "tenant", keys.DefaultTenant, "`tenant` whose fingerprint is shown")
	c.Flags().BoolVar(&names, "name-secret", false, "make a secret that hides key names instead of a master key")
	return c
}

func (g *generated) identify(tenant string) error {
	key, err := keys.Hex(g.Key)
	if err != nil {
		return err
	}
	f, err := key.Fingerprint(tenant)
	if err != nil {
		return fail(codeUsage, "--tenant: %w", err)
	}
	g.Tenant, g.Fingerprint = tenant, f.String()
	return nil
}

func (a *app) generateFile(g generated, file string) error {
	if err := createSecret(file, g.Key+"\n"); err != nil {
		return err
	}
	g.Key, g.File = "", file
	if g.Fingerprint == "" {
		return a.print(g, "wrote a name secret to "+file)
	}
	return a.print(g, g.Fingerprint)
}

// warnReadable warns if the key is about to go to a file that others can read:
// by the time its mode is mended they may have read it.
func (a *app) warnReadable() {
	info, err := a.out.f.Stat()
	if err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		fmt.Fprintf(a.errs, "keytool: warning: the key goes to a file of mode %04o that others can read: throw it away and use -o\n",
			info.Mode().Perm())
	}
}
