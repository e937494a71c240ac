package main

import (
	"github.com/spf13/cobra"

	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/keys/keyfile"
)

func (a *app) keyringStage() *cobra.Command {
	var f changeFlags
	var note, file string
	c := &cobra.Command{
		Use:   "stage",
		Short: "Add the next key, which only opens until it is promoted",
		Long: text(`
			stage adds a fresh key to the file, or the one in --key-file, as the next current
			key. Until it is promoted it only opens entries: deploy the file to the whole
			fleet, so that every process can read what the first process to be promoted
			writes. A key that the file has known before, destroyed ones included, is refused.`),
		Example: text(`
			keytool keyring stage --keyring ring.json --passphrase-file pass.txt --note 2027`),
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			key := keys.Generate()
			if file != "" {
				var err error
				if key, err = a.readKey(file); err != nil {
					return err
				}
			}
			return a.change(cmd.Context(), f, func(d *keyfile.Document) (string, error) {
				return d.Stage(key, note, now())
			})
		},
	}
	f.add(c)
	c.Flags().StringVar(&note, "note", "", "`text` to remember with the key")
	c.Flags().StringVar(&file, "key-file", "", "`file` with the key in hex, - for standard input (default: a fresh one)")
	return c
}
