package main

import (
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/cachekit-io/cachekit-go/testvectors"
)

// verified is the result of vectors verify, and of vectors list.
type verified struct {
	Set    string          `json:"set"`
	OK     bool            `json:"ok"`
	Passed int             `json:"passed"`
	Failed int             `json:"failed"`
	Blocks []verifiedBlock `json:"blocks"`
	Reason string          `json:"reason,omitempty"`
}

type verifiedBlock struct {
	File     string           `json:"file"`
	Block    string           `json:"block"`
	Passed   int              `json:"passed"`
	Failed   int              `json:"failed"`
	Failures []verifiedFailed `json:"failures,omitempty"`
}

type verifiedFailed struct {
	Case   string `json:"case"`
	Reason string `json:"reason"`
}

func (a *app) vectors() *cobra.Command {
	verify := &cobra.Command{
		Use:   "verify [DIR]",
		Short: "Check this build against test vectors",
		Long: text(`
			verify checks derivation, sealing, keys, values, containers and files of this
			build against the vectors that are built in, or those in DIR (a directory with
			a manifest; testvectors/README.md has the format). A missing file, block or case
			fails like a wrong one.`),
		Example: text(`
			keytool vectors verify
			keytool vectors verify ./testvectors/data`),
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.verifyVectors(args) },
	}
	list := &cobra.Command{
		Use:     "list [DIR]",
		Short:   "List the blocks of test vectors and their cases",
		Example: "keytool vectors list --json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			set, v, err := checkVectors(args)
			if len(v.Blocks) == 0 {
				return fail(codeUsage, "%s: %w", set, err)
			}
			var lines []string
			for _, b := range v.Blocks {
				lines = append(lines, fmt.Sprintf("%-24s %-32s %5d", b.File, b.Block, b.Passed+b.Failed))
			}
			return a.print(v, lines...)
		},
	}
	return group("vectors", "Check this build against the family's test vectors", `
			The vectors are the values on which all SDKs of the CacheKit family agree.`, verify, list)
}

func (a *app) verifyVectors(args []string) error {
	_, v, _ := checkVectors(args)
	var lines []string
	for _, b := range v.Blocks {
		for _, f := range b.Failures {
			lines = append(lines, fmt.Sprintf("FAIL %s %s %s: %s", b.File, b.Block, f.Case, f.Reason))
		}
	}
	if v.OK {
		return a.print(v, fmt.Sprintf("ok: %d cases in %d blocks of %s", v.Passed, len(v.Blocks), v.Set))
	}
	_ = a.print(v, append(lines, fmt.Sprintf("FAIL: %d passed, %d failed in %s: %s", v.Passed, v.Failed, v.Set, v.Reason))...)
	return verdict(codeVerdict)
}

func checkVectors(args []string) (set string, v verified, err error) {
	set = "the embedded set"
	var fsys fs.FS = testvectors.Embedded()
	if len(args) > 0 {
		set, fsys = args[0], os.DirFS(args[0])
	}
	report, err := testvectors.Verify(fsys)
	v = verified{Set: set, OK: err == nil, Passed: report.Passed(), Blocks: []verifiedBlock{}}
	for _, b := range report.Blocks {
		out := verifiedBlock{File: b.File, Block: b.Name, Passed: b.Passed, Failed: b.Failed}
		for _, f := range b.Failures {
			out.Failures = append(out.Failures, verifiedFailed(f))
		}
		v.Blocks, v.Failed = append(v.Blocks, out), v.Failed+b.Failed
	}
	if err != nil {
		v.Reason = err.Error()
	}
	return set, v, err
}
