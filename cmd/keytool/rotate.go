package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/keys/keyfile"
)

// rotation is the result of rotate.
type rotation struct {
	Ring ring `json:"ring"`
	// Done is the step that was taken, "" if none was.
	Done string `json:"done,omitempty"`
	Next step   `json:"next"`
}

// step is one step of the runbook.
type step struct {
	Name     string   `json:"name"` // stage, promote, retire, destroy
	Key      string   `json:"key,omitempty"`
	Requires []string `json:"requires"`
	Command  string   `json:"command"`
}

// rotateFlags are the flags of rotate.
type rotateFlags struct {
	change     changeFlags
	retire     retireFlags
	step       string
	compromise bool
	yes        bool
	note       string
}

func (a *app) rotate() *cobra.Command {
	var f rotateFlags
	c := &cobra.Command{
		Use:   "rotate [--step STEP]",
		Short: "Say which step of a rotation is next, or take it",
		Long: text(`
			rotate reads a keyring file and says which step of the family's runbook is next,
			what must be true before it, and the command for it. With --step it takes that
			step, and refuses one that is not the next: stage, promote, retire, destroy.

			--compromise cuts over at once: a fresh key becomes current and every other key
			is retired, so that nothing sealed under them opens any more and every entry is
			recomputed. Deploy it everywhere, delete the entries, and set
			CACHEKIT_PREVIOUS_MASTER_KEYS to nothing where programs use the variables.`),
		Example: text(`
			keytool rotate --keyring ring.json --passphrase-file pass.txt
			keytool rotate --step stage --note 2027

			keytool rotate --step promote --deployed-at 2026-01-05T10:00:00Z

			keytool audit --json --prefix users: > audit.json
			keytool rotate --step retire --deployed-at 2026-01-06T10:00:00Z --max-ttl 24h --audit audit.json

			keytool rotate --compromise --yes`),
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.rotateRing(cmd.Context(), f) },
	}
	f.change.add(c)
	f.retire.add(c)
	c.Flags().StringVar(&f.step, "step", "", "take this `step`, if it is the next one")
	c.Flags().BoolVar(&f.compromise, "compromise", false, "a key is known to others: cut over to a fresh one at once")
	c.Flags().BoolVar(&f.yes, "yes", false, "confirm --compromise or --step destroy")
	c.Flags().StringVar(&f.note, "note", "", "`text` to remember with a new key")
	c.MarkFlagsMutuallyExclusive("step", "compromise")
	return c
}

func (a *app) rotateRing(ctx context.Context, f rotateFlags) error {
	if err := f.change.ring.resolve(); err != nil {
		return err
	}
	p, err := a.protection(ctx, f.change.ring, false)
	if err != nil {
		return err
	}
	out := rotation{}
	var doc *keyfile.Document
	see := func(d *keyfile.Document) error {
		doc, out.Next = d, next(d)
		out.Ring, err = describe(f.change.ring.path, d, f.change.tenant)
		return err
	}
	if f.step == "" && !f.compromise {
		d, err := keyfile.Read(ctx, f.change.ring.path, p, nil)
		if err == nil {
			err = f.change.ring.admit(d)
		}
		if err == nil {
			err = see(d)
		}
		if err != nil {
			return classified(err)
		}
		return a.print(out, out.lines()...)
	}
	err = keyfile.Update(ctx, f.change.ring.path, p, func(d *keyfile.Document) error {
		if err := f.change.ring.admit(d); err != nil {
			return err
		}
		if out.Done, err = a.take(d, f); err != nil {
			return err
		}
		return see(d)
	})
	if err != nil {
		return classified(err)
	}
	out.Ring.written(doc)
	return a.print(out, out.lines()...)
}

// next returns the step that is next.
func next(d *keyfile.Document) step {
	role := map[keyfile.Role]keyfile.Key{}
	for _, k := range d.Keys() { // of several the one that has waited longest
		if _, ok := role[k.Role]; !ok {
			role[k.Role] = k
		}
	}
	if k, ok := role[keyfile.Staged]; ok {
		return step{"promote", k.ID, []string{"every process has loaded the file with the staged key (say since when with --deployed-at)"},
			"keytool rotate --step promote --deployed-at TIME"}
	}
	if k, ok := role[keyfile.Demoted]; ok {
		return step{"retire", k.ID, []string{
			"every process seals under the new key (say since when with --deployed-at)",
			"the longest TTL has passed since, or reencrypt has moved what was left",
			"an audit begun after that finds no entry under the key",
		}, "keytool rotate --step retire --deployed-at TIME --max-ttl DURATION --audit FILE"}
	}
	if k, ok := role[keyfile.Retired]; ok {
		return step{"destroy", k.ID, []string{"no backup of entries under the key is needed any more"}, "keytool rotate --step destroy --yes"}
	}
	return step{"stage", "", []string{"no rotation is under way"}, "keytool rotate --step stage"}
}

// take takes the step that f asks for.
func (a *app) take(d *keyfile.Document, f rotateFlags) (string, error) {
	if f.compromise {
		return "compromise", f.cutOver(d)
	}
	n := next(d)
	// A new rotation may begin while a retired key waits to be destroyed.
	if f.step != n.Name && (f.step != "stage" || n.Name != "destroy") {
		return "", fail(codeUsage, "the next step is %s, not %s: %s", n.Name, f.step, n.Command)
	}
	var err error
	switch f.step {
	case "stage":
		_, err = d.Stage(keys.Generate(), f.note, now())
	case "promote":
		_, err = promote(d, n.Key, f.retire.deployedAt)
	case "retire":
		_, err = a.retire(d, n.Key, f.retire)
	case "destroy":
		if !f.yes {
			return "", fail(codeUsage, "this cannot be undone: add --yes")
		}
		err = d.Destroy(n.Key, now())
	}
	return f.step, err
}

// cutOver makes a fresh key current and retires all others.
func (f rotateFlags) cutOver(d *keyfile.Document) error {
	if !f.yes {
		return fail(codeUsage, "every entry is lost to the programs that load this file: add --yes")
	}
	at := now()
	for _, k := range d.Keys() {
		if k.Role == keyfile.Staged {
			if err := d.Retire(k.ID, at); err != nil {
				return err
			}
		}
	}
	// At most three keys only open: make room for the current one among them.
	if err := retireDemoted(d, at); err != nil {
		return err
	}
	id, err := d.Stage(keys.Generate(), f.note, at)
	if err != nil {
		return err
	}
	if err := d.Promote(id, at); err != nil {
		return err
	}
	return retireDemoted(d, at)
}

func retireDemoted(d *keyfile.Document, at time.Time) error {
	for _, k := range d.Keys() {
		if k.Role == keyfile.Demoted {
			if err := d.Retire(k.ID, at); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r rotation) lines() []string {
	lines := r.Ring.lines()
	if r.Done != "" {
		lines = append(lines, "done  "+r.Done)
	}
	if r.Done == "compromise" {
		lines = append(lines, "      deploy this file everywhere, delete the entries, and where programs use the variables:",
			"      "+keys.EnvPreviousMasterKeys+"=\"\"")
	}
	lines = append(lines, "next  "+r.Next.Name)
	for _, what := range r.Next.Requires {
		lines = append(lines, "      when "+what)
	}
	return append(lines, fmt.Sprintf("      %s", r.Next.Command))
}
