package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/cachekit-io/cachekit-go/keys"
)

// exported is the result of keyring export.
type exported struct {
	File     string `json:"file,omitempty"`
	Master   string `json:"master_key,omitempty"`
	Previous string `json:"previous_master_keys,omitempty"`
}

func (a *app) keyringExport() *cobra.Command {
	var f ringFlags
	var file string
	c := &cobra.Command{
		Use:   "export",
		Short: "Print the keys in use as the variables of the family's SDKs",
		Long: text(`
			export prints CACHEKIT_MASTER_KEY and CACHEKIT_PREVIOUS_MASTER_KEYS with the keys
			in use, for programs that take them from the environment: those in Python, Rust
			and TypeScript. These are the secrets themselves. The second is printed although
			it may be empty, so that an old value does not stay. With -o they go to a new file
			of mode 0600.`),
		Example: text(`
			keytool keyring export --keyring ring.json --passphrase-file pass.txt -o cachekit.env`),
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := a.readRing(cmd.Context(), &f)
			if err != nil {
				return err
			}
			current, previous, err := d.Export()
			if err != nil {
				return local(err)
			}
			text := fmt.Sprintf("%s=%s\n%s=%s", keys.EnvMasterKey, current, keys.EnvPreviousMasterKeys, previous)
			if file != "" {
				if err := createSecret(file, text+"\n"); err != nil {
					return err
				}
				return a.print(exported{File: file}, "wrote "+file)
			}
			a.warnReadable()
			return a.print(exported{Master: current, Previous: previous}, text)
		},
	}
	f.add(c)
	c.Flags().StringVarP(&file, "output", "o", "", "write the variables to a new `file` of mode 0600")
	return c
}
