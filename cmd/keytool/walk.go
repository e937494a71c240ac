package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/cachekit-io/cachekit-go/internal/rekey"
)

// walked is the result of audit and reencrypt.
type walked struct {
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
	// Scope says which entries were walked.
	Scope scope `json:"scope"`
	// Done is false if the walk was cut short; Cursor resumes it then.
	Done   bool   `json:"done"`
	Cursor string `json:"cursor,omitempty"`

	Seen            uint64            `json:"seen"`
	Gone            uint64            `json:"gone"`
	Skipped         uint64            `json:"skipped"`
	Keys            []walkedKey       `json:"keys"`
	Unauthenticated uint64            `json:"unauthenticated"`
	Guesses         map[string]uint64 `json:"unauthenticated_guesses,omitempty"`
	NoExpiry        *uint64           `json:"no_expiry,omitempty"`
	NoExpiryOld     *uint64           `json:"no_expiry_old,omitempty"`
	Resealed        uint64            `json:"resealed"`
	Changed         uint64            `json:"changed"`
	Left            uint64            `json:"left"`
	Failed          uint64            `json:"failed"`
	Bytes           uint64            `json:"bytes"`
	DryRun          bool              `json:"dry_run,omitempty"`
	// FailedKeys are listed with --list-failed only.
	FailedKeys []walkedFailure `json:"failed_keys,omitempty"`
}

type scope struct {
	Prefix    string   `json:"prefix"`
	Tenant    string   `json:"tenant,omitempty"`
	TenantOf  []string `json:"tenant_of,omitempty"`
	InteropV2 bool     `json:"interop_v2"`
	KeysFrom  bool     `json:"keys_from"`
	// Cursor is where the walk began, if not at the start.
	Cursor string `json:"cursor,omitempty"`
}

type walkedKey struct {
	Tenant      string `json:"tenant"`
	Fingerprint string `json:"fingerprint"`
	Role        string `json:"role"`
	Entries     uint64 `json:"entries"`
}

type walkedFailure struct {
	Key    string `json:"key"`
	Reason string `json:"reason"`
}

// walkFlags are what audit and reencrypt share.
type walkFlags struct {
	keys     keyFlags
	entries  entryFlags
	cursor   string
	rate     int
	parallel int
	list     bool
}

func (f *walkFlags) add(c *cobra.Command) {
	f.keys.add(c)
	f.entries.add(c)
	c.Flags().StringVar(&f.cursor, "cursor", "", "go on where an earlier walk ended, at the `cursor` that it printed")
	c.Flags().IntVar(&f.rate, "rate", 0, "at most `N` entries a second (default: no limit)")
	c.Flags().IntVar(&f.parallel, "parallel", rekey.DefaultParallel, "`N` pages of entries in work at a time")
	c.Flags().BoolVar(&f.list, "list-failed", false, "list the storage keys of entries that did not open or could not be replaced")
}

func (f *walkFlags) scope() scope {
	return scope{f.entries.prefix, f.entries.tenant, f.entries.tenantOf, f.entries.v2, f.entries.keysFrom != "", f.cursor}
}

// config turns flags into what package rekey takes, but for the store.
func (a *app) config(ctx context.Context, f walkFlags) (rekey.Config, error) {
	if f.rate < 0 || f.parallel < 1 {
		return rekey.Config{}, fail(codeUsage, "--rate is not negative and --parallel at least 1")
	}
	ring, err := a.keyring(ctx, f.keys)
	if err != nil {
		return rekey.Config{}, err
	}
	tenants, err := f.entries.tenants()
	if err != nil {
		return rekey.Config{}, err
	}
	list, err := a.list(f.entries)
	if err != nil {
		return rekey.Config{}, err
	}
	return rekey.Config{
		Ring: ring, Tenant: tenants, Compressed: f.entries.v2, Prefix: f.entries.prefix,
		Cursor: f.cursor, Keys: list, Rate: f.rate, Parallel: f.parallel,
	}, nil
}

// walk runs a walk and returns its result. The error ends the command after the
// result has been printed.
func (a *app) walk(ctx context.Context, f walkFlags, change func(*rekey.Config) error) (walked, error) {
	cfg, err := a.config(ctx, f)
	if err != nil {
		return walked{}, err
	}
	if cfg.Store, err = openStore(ctx); err != nil {
		return walked{}, err
	}
	defer cfg.Store.Close()
	if err := change(&cfg); err != nil {
		return walked{}, walkError(err)
	}
	out := walked{Started: time.Now().UTC(), Scope: f.scope()}
	if f.list {
		cfg.Failed = func(key string, err error) {
			out.FailedKeys = append(out.FailedKeys, walkedFailure{key, err.Error()})
		}
	}
	p := a.progress()
	cfg.Progress = p.show
	r, err := rekey.Walk(ctx, cfg)
	p.end()
	out.fill(r, cfg.Ages)
	return out, walkError(err)
}

// walkError gives the end of a walk its exit code.
func walkError(err error) error {
	var local *failure
	switch {
	case err == nil:
		return nil
	case errors.As(err, &local):
		return err
	case errors.Is(err, rekey.ErrCannotSwap):
		return fail(codeUsage, "%w; keep the old key in the keyring for the longest TTL after the deployment of the new one, then retire it (docs/key-rotation.md)", err)
	case errors.Is(err, rekey.ErrCannotScan):
		return fail(codeUsage, "%w with --keys-from", err)
	case errors.Is(err, rekey.ErrCursor):
		return fail(codeUsage, "--cursor: %w", err)
	}
	return &failure{codeBackend, err}
}

func now() time.Time { return time.Now().UTC().Truncate(time.Second) }

func (w *walked) fill(r rekey.Report, ages bool) {
	w.Finished, w.Done, w.Cursor = time.Now().UTC(), r.Done, r.Cursor
	w.Seen, w.Gone, w.Skipped, w.Bytes = r.Seen, r.Gone, r.Skipped, r.Bytes
	w.Unauthenticated, w.Guesses = r.Unauthenticated, r.LookLike
	w.Resealed, w.Changed, w.Left, w.Failed = r.Resealed, r.Changed, r.Left, r.Failed
	if ages {
		w.NoExpiry, w.NoExpiryOld = &r.NoExpiry, &r.NoExpiryOld
	}
	w.Keys = []walkedKey{}
	for _, k := range r.Keys {
		w.Keys = append(w.Keys, walkedKey{k.Tenant, k.Fingerprint.String(), role(k.Place), k.Entries})
	}
}

// lines describe what both commands have found.
func (w walked) lines() []string {
	lines := []string{fmt.Sprintf("entries         %d", w.Seen)}
	for _, k := range w.Keys {
		lines = append(lines, fmt.Sprintf("  %-8s      %d under %s (tenant %s)", k.Role, k.Entries, k.Fingerprint, k.Tenant))
	}
	add := func(n uint64, format string) {
		if n > 0 {
			lines = append(lines, fmt.Sprintf(format, n))
		}
	}
	add(w.Unauthenticated, "unauthenticated %d")
	for _, what := range []string{rekey.LooksPlaintext, rekey.LooksPython, rekey.LooksSealed, rekey.LooksEmpty} {
		add(w.Guesses[what], "  perhaps       %d "+what)
	}
	if w.NoExpiry != nil {
		add(*w.NoExpiry, "no expiry       %d")
		add(*w.NoExpiryOld, "  under an old key: %d")
	}
	add(w.Gone, "gone meanwhile  %d")
	add(w.Skipped, "of no tenant    %d")
	add(w.Failed, "failed          %d")
	for _, f := range w.FailedKeys {
		lines = append(lines, fmt.Sprintf("  %q: %s", f.Key, f.Reason))
	}
	if !w.Done {
		lines = append(lines, "not finished    "+w.resume())
	}
	return lines
}

// resume says how to go on with a walk that was cut short.
func (w walked) resume() string {
	if w.Cursor == "" {
		return "run it again"
	}
	return fmt.Sprintf("go on with --cursor %q", w.Cursor)
}

// finish prints the result and ends the command with what is the most urgent:
// the error of the walk, that it is not done, or its verdict.
func (a *app) finish(w walked, err error, bad bool, lines ...string) error {
	if err != nil && w.Seen == 0 {
		return err
	}
	if printed := a.print(w, append(w.lines(), lines...)...); printed != nil {
		return printed
	}
	switch {
	case err != nil:
		return err
	case !w.Done:
		return fail(codePartial, "stopped before the end: %s", w.resume())
	case w.Failed > 0:
		return fail(codePartial, "%d entries could not be read or replaced: run it again", w.Failed)
	case bad:
		return verdict(codeVerdict)
	}
	return nil
}
