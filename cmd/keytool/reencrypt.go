package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/cachekit-io/cachekit-go/internal/rekey"
)

func (a *app) reencrypt() *cobra.Command {
	var f walkFlags
	var apply, verify bool
	c := &cobra.Command{
		Use:   "reencrypt [--apply]",
		Short: "Seal stored entries anew under the current key",
		Long: text(`
			reencrypt walks the storage that the environment selects and replaces entries
			under an old key by the same values under the current one. Without --apply it
			only says what it would do.

			A newer write is never overwritten, and the time to live stays: an entry is
			swapped only while the storage still holds the bytes that were read. That needs
			a storage that can compare and swap (Redis, DynamoDB, files, Memcached; see
			docs/conformance.md); elsewhere the command ends with 2, and entries under the
			old key end with their TTL.

			Interrupt it once and it finishes what it has in hand and prints the cursor to go
			on with. Killed, it can simply be run again. Promote the new key on the whole
			fleet first, or writers under the old key undo the work.

			It ends with 1 if entries do not authenticate or are left under an old key, 4 if
			it was stopped or entries failed.`),
		Example: text(`
			keytool reencrypt --prefix accounts: --tenant acme
			keytool reencrypt --prefix accounts: --tenant acme --apply --rate 5000
			keytool reencrypt --prefix users: --apply --cursor 7340032@`),
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w, err := a.walk(cmd.Context(), f, func(c *rekey.Config) error {
				if c.Reseal, c.Verify = apply, verify; !c.Store.CanSwap() {
					return rekey.ErrCannotSwap // so that a dry run says it too
				}
				return nil
			})
			if !apply {
				w.DryRun = true
				return a.finish(w, err, w.Unauthenticated > 0, fmt.Sprintf("would re-seal   %d: run it with --apply", w.Left))
			}
			return a.finish(w, err, w.Unauthenticated > 0 || w.Left > 0,
				fmt.Sprintf("re-sealed       %d", w.Resealed), fmt.Sprintf("newer by others %d", w.Changed), fmt.Sprintf("left            %d", w.Left))
		},
	}
	f.add(c)
	c.Flags().BoolVar(&apply, "apply", false, "replace entries instead of counting them")
	c.Flags().BoolVar(&verify, "verify", true, "read every replaced entry once more and open it")
	return c
}
