package main

import (
	"encoding/json"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/cachekit-io/cachekit-go/keys/keyfile"
)

// retireFlags are the operator's words that a key is not needed any more.
type retireFlags struct {
	deployedAt string
	maxTTL     time.Duration
	audit      string
	allExpire  bool
}

func (f *retireFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.deployedAt, "deployed-at", "", "`time` since which every process seals under the new key (RFC 3339, or now)")
	c.Flags().DurationVar(&f.maxTTL, "max-ttl", 0, "the longest TTL that any program writes with, such as 24h")
	c.Flags().StringVar(&f.audit, "audit", "", "`file` with the result of \"keytool audit --json\", - for standard input")
	c.Flags().BoolVar(&f.allExpire, "all-expire", false, "instead of an audit: no program writes entries without expiry")
	c.MarkFlagsMutuallyExclusive("audit", "all-expire")
}

func (a *app) keyringRetire() *cobra.Command {
	var f changeFlags
	var r retireFlags
	c := &cobra.Command{
		Use:   "retire ID --deployed-at TIME --max-ttl DURATION (--audit FILE | --all-expire)",
		Short: "Take a demoted key out of use",
		Long: text(`
			retire takes a demoted key out of use: what is still sealed under it does not open
			any more. It cannot be taken back. A staged key, which has sealed nothing, is
			retired without more.

			For a demoted key it wants to know since when every process seals under the new
			key, how long the longest TTL is, and what an audit of the storage found. It
			refuses while an entry under the key may be alive: before the longest TTL has
			passed since the deployment, unless the audit, begun after it, found none; and in
			any case while the audit found entries under it. Where a storage cannot be
			walked, --all-expire is your word that no entry lives for ever.`),
		Example: text(`
			keytool audit --json --prefix users: > audit.json
			keytool keyring retire "$OLD" --deployed-at 2026-01-06T10:00:00Z --max-ttl 24h --audit audit.json`),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.change(cmd.Context(), f, func(d *keyfile.Document) (string, error) { return a.retire(d, args[0], r) })
		},
	}
	f.add(c)
	r.add(c)
	return c
}

func (a *app) retire(d *keyfile.Document, id string, f retireFlags) (string, error) {
	k, err := find(d, id)
	if err != nil {
		return "", err
	}
	if k.Role == keyfile.Demoted {
		if err := a.mayRetire(d, k, f); err != nil {
			return "", err
		}
	}
	return k.ID, d.Retire(k.ID, now())
}

// mayRetire holds the rules of the runbook against the operator's words.
func (a *app) mayRetire(d *keyfile.Document, k keyfile.Key, f retireFlags) error {
	at, err := deployed(f.deployedAt, "every process seals under the new key", k.Demoted)
	if err != nil {
		return err
	}
	if f.maxTTL <= 0 {
		return fail(codeUsage, "give --max-ttl: the longest TTL that any program writes with")
	}
	end := at.Add(f.maxTTL)
	if f.allExpire {
		if time.Now().Before(end) {
			return fail(codeVerdict, "entries under this key may live until %s: come back then", end.Format(time.RFC3339))
		}
		return nil
	}
	if f.audit == "" {
		return fail(codeUsage, "give --audit with the result of \"keytool audit --json\", or --all-expire if no program writes entries without expiry")
	}
	return a.audited(d, k, f.audit, at)
}

// open opens a file that holds no secret, - for standard input.
func (a *app) open(file string) (*os.File, error) {
	if file == "-" {
		return a.stdin()
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fail(codeUsage, "%w", err)
	}
	return f, nil
}

// maxAudit bounds what is read of an audit's result.
const maxAudit = 16 << 20

// audited checks that an audit begun after the deployment found no entry under
// the key.
func (a *app) audited(d *keyfile.Document, k keyfile.Key, file string, at time.Time) error {
	in, err := a.open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	var doc struct {
		Schema  int     `json:"schema"`
		Command string  `json:"command"`
		Result  *walked `json:"result"`
	}
	err = json.NewDecoder(io.LimitReader(in, maxAudit)).Decode(&doc)
	w := doc.Result
	switch {
	case err != nil:
		return fail(codeUsage, "--audit: not the result of \"keytool audit --json\": %w", err)
	case doc.Schema != schema || doc.Command != "audit" || w == nil:
		return fail(codeUsage, "--audit: not the result of \"keytool audit --json\" of this version")
	case !w.Done || w.Failed > 0 || w.Scope.Cursor != "":
		return fail(codeVerdict, "the audit did not see every entry: run it again")
	case w.Started.Before(at):
		return fail(codeVerdict, "the audit began %s, before the deployment was complete: run it again", w.Started.Format(time.RFC3339))
	case w.Seen == 0 && (w.Scope.Prefix != "" || w.Scope.KeysFrom || w.Skipped > 0):
		return fail(codeVerdict, "the audit saw no entry: were prefix, list and tenants the right ones?")
	}
	return none(d, k, w.Keys)
}

// none checks that the audit knew the key for every tenant that it saw, and
// found nothing under it.
func none(d *keyfile.Document, k keyfile.Key, counts []walkedKey) error {
	known := map[string]bool{}
	for _, c := range counts {
		f, err := fingerprintOf(d, k.ID, c.Tenant)
		if err != nil {
			return err
		}
		if f == c.Fingerprint && c.Entries > 0 {
			return fail(codeVerdict, "%d entries are still under this key (tenant %s): reencrypt them, or wait until they end; entries without expiry never do", c.Entries, c.Tenant)
		}
		known[c.Tenant] = known[c.Tenant] || f == c.Fingerprint
	}
	for tenant, ok := range known {
		if !ok {
			return fail(codeVerdict, "the audit was not given this key (tenant %s), so it could not tell what is under it: run it with the keys of this file", tenant)
		}
	}
	return nil
}
