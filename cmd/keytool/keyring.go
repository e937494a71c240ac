package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/keys/keyfile"
)

func (a *app) keyringGroup() *cobra.Command {
	return group("keyring", "Keep master keys in a keyring file", `
			A keyring file holds master keys, what each is for and since when, sealed as a
			whole under a passphrase, age identities or a KMS key. docs/keyring-file.md
			describes it, docs/key-rotation.md how to rotate with it.

			A key goes one way: staged, current, demoted, retired, destroyed.`,
		a.keyringInit(), a.keyringImport(), a.keyringShow(), a.keyringStage(), a.keyringPromote(),
		a.keyringRetire(), a.keyringDestroy(), a.keyringExport())
}

// ring is the result of every command about a keyring file.
type ring struct {
	File       string     `json:"file"`
	RingID     string     `json:"ring_id"`
	Generation uint64     `json:"generation"`
	Protection string     `json:"protection,omitempty"`
	Written    *time.Time `json:"written,omitempty"`
	Tenant     string     `json:"tenant"`
	// Key is the id of the key that a command has changed.
	Key  string    `json:"key,omitempty"`
	Keys []ringKey `json:"keys"`
}

type ringKey struct {
	ID          string     `json:"id"`
	Role        string     `json:"role"`
	Fingerprint string     `json:"fingerprint,omitempty"`
	Created     time.Time  `json:"created"`
	Promoted    *time.Time `json:"promoted,omitempty"`
	Demoted     *time.Time `json:"demoted,omitempty"`
	Retired     *time.Time `json:"retired,omitempty"`
	Destroyed   *time.Time `json:"destroyed,omitempty"`
	Note        string     `json:"note,omitempty"`
}

// describe lists the keys of d with the fingerprints that they have for tenant.
func describe(file string, d *keyfile.Document, tenant string) (ring, error) {
	r := ring{File: file, RingID: d.RingID(), Generation: d.Generation(), Protection: d.Protection(),
		Written: when(d.Written()), Tenant: tenant, Keys: []ringKey{}}
	for _, k := range d.Keys() {
		out := ringKey{ID: k.ID, Role: k.Role.String(), Created: k.Created, Promoted: when(k.Promoted), Demoted: when(k.Demoted),
			Retired: when(k.Retired), Destroyed: when(k.Destroyed), Note: k.Note}
		if k.Role != keyfile.Destroyed {
			f, err := fingerprintOf(d, k.ID, tenant)
			if err != nil {
				return ring{}, err
			}
			out.Fingerprint = f
		}
		r.Keys = append(r.Keys, out)
	}
	return r, nil
}

func fingerprintOf(d *keyfile.Document, id, tenant string) (string, error) {
	key, err := d.MasterKey(id)
	if err != nil {
		return "", local(err)
	}
	f, err := key.Fingerprint(tenant)
	if err != nil {
		return "", fail(codeUsage, "--tenant: %w", err)
	}
	return f.String(), nil
}

func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// lines show the keys for people, tombstones last as they are in the file.
func (r ring) lines() []string {
	lines := []string{fmt.Sprintf("keyring %s, generation %d, %s", r.RingID, r.Generation, r.Protection)}
	for _, k := range r.Keys {
		line := fmt.Sprintf("%s  %-9s  %-32s  %s", k.ID[:12], k.Role, k.Fingerprint, since(k))
		if k.Note != "" {
			line += "  " + k.Note
		}
		lines = append(lines, line)
	}
	return lines
}

// since says when a key took the role that it has.
func since(k ringKey) string {
	for _, t := range []*time.Time{k.Destroyed, k.Retired, k.Demoted, k.Promoted} {
		if t != nil {
			return t.Format(time.RFC3339)
		}
	}
	return k.Created.Format(time.RFC3339)
}

// changeFlags are those of commands that change a keyring file.
type changeFlags struct {
	ring   ringFlags
	tenant string
}

func (f *changeFlags) add(c *cobra.Command) {
	f.ring.add(c)
	c.Flags().StringVar(&f.tenant, "tenant", keys.DefaultTenant, "`tenant` whose fingerprints are shown")
}

// change applies step to the keyring file and prints the outcome. step returns
// the id of the key that it is about.
func (a *app) change(ctx context.Context, f changeFlags, step func(*keyfile.Document) (id string, err error)) error {
	if err := f.ring.resolve(); err != nil {
		return err
	}
	p, err := a.protection(ctx, f.ring, false)
	if err != nil {
		return err
	}
	var out ring
	var doc *keyfile.Document
	err = keyfile.Update(ctx, f.ring.path, p, func(d *keyfile.Document) error {
		if err := f.ring.admit(d); err != nil {
			return err
		}
		id, err := step(d)
		if err != nil {
			return err
		}
		doc = d
		out, err = describe(f.ring.path, d, f.tenant)
		out.Key = id
		return err
	})
	if err != nil {
		return classified(err)
	}
	out.written(doc)
	return a.print(out, out.lines()...)
}

// written takes over what writing the file has made of d.
func (r *ring) written(d *keyfile.Document) {
	r.Generation, r.Written = d.Generation(), when(d.Written())
}

// classified keeps the exit code that an error has, or takes it for a local one.
func classified(err error) error {
	var f *failure
	if errors.As(err, &f) {
		return err
	}
	return local(err)
}

// find returns the key whose id begins with prefix.
func find(d *keyfile.Document, prefix string) (keyfile.Key, error) {
	const least = 6
	var found []keyfile.Key
	for _, k := range d.Keys() {
		if len(prefix) >= least && strings.HasPrefix(k.ID, strings.ToLower(prefix)) {
			found = append(found, k)
		}
	}
	switch {
	case len(prefix) < least:
		return keyfile.Key{}, fail(codeUsage, "give at least %d digits of the key's id", least)
	case len(found) == 0:
		return keyfile.Key{}, fail(codeUsage, "no key has that id: \"keytool keyring show\" lists them")
	case len(found) > 1:
		return keyfile.Key{}, fail(codeUsage, "%d keys have an id that begins so: give more digits", len(found))
	}
	return found[0], nil
}

// deployed parses the operator's word on when a deployment was complete.
func deployed(text, what string, earliest time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, fail(codeUsage, "give --deployed-at: since when %s; RFC 3339, or \"now\"", what)
	}
	at := time.Now().UTC()
	if text != "now" {
		var err error
		if at, err = time.Parse(time.RFC3339, text); err != nil {
			return time.Time{}, fail(codeUsage, "--deployed-at is neither RFC 3339 (2026-11-24T10:00:00Z) nor \"now\"")
		}
	}
	switch {
	case at.After(time.Now().Add(time.Minute)):
		return time.Time{}, fail(codeUsage, "--deployed-at is in the future: come back when it is done")
	case at.Before(earliest):
		return time.Time{}, fail(codeUsage, "--deployed-at %s is before the step it speaks of, %s", at.Format(time.RFC3339), earliest.Format(time.RFC3339))
	}
	return at, nil
}

// existing turns "it is there already" into what to do.
func existing(path string, err error) error {
	if errors.Is(err, fs.ErrExist) {
		return fail(codeUsage, "%s exists already and is left as it is: choose another name", path)
	}
	return local(err)
}
