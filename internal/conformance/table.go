package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cachekit-io/cachekit-go/backends/backendtest"
)

const head = `# Conformance of the backends

Made by the suite itself, [backendtest](../backends/backendtest), against real servers: ` + "`make conformance`" + ` writes this page, and a
test fails if it is out of date. Do not edit it.
`

// table is the records by package.
type table struct {
	packages []string
	runs     map[string][]backendtest.Record
}

func newTable(records []backendtest.Record) table {
	t := table{runs: map[string][]backendtest.Record{}}
	for _, r := range records {
		t.runs[r.Package] = append(t.runs[r.Package], r)
	}
	t.packages = slices.Sorted(maps.Keys(t.runs))
	for _, runs := range t.runs {
		slices.SortFunc(runs, func(a, b backendtest.Record) int { return strings.Compare(a.Test, b.Test) })
	}
	return t
}

// String returns the page.
func (t table) String() string {
	var b strings.Builder
	b.WriteString(head)
	t.capabilities(&b)
	t.rules(&b)
	t.excuses(&b)
	t.tests(&b)
	return b.String()
}

func row(b *strings.Builder, cells ...string) {
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

// header begins a table that has a column for each package.
func (t table) header(b *strings.Builder, first ...string) {
	row(b, append(first, t.packages...)...)
	b.WriteString(strings.Repeat("|---", len(first)+len(t.packages)) + "|\n")
}

func (t table) capabilities(b *strings.Builder) {
	b.WriteString("\n## Capabilities\n\n")
	t.header(b, "capability")
	for _, name := range backendtest.Capabilities() {
		cells := []string{"`" + name + "`"}
		for _, p := range t.packages {
			cells = append(cells, t.share(p, "yes", func(r backendtest.Record) bool { return slices.Contains(r.Capabilities, name) }))
		}
		row(b, cells...)
	}
}

// share says word if it is true of all runs of a package, with a fraction if of
// some only.
func (t table) share(pkg, word string, is func(backendtest.Record) bool) string {
	n := 0
	for _, r := range t.runs[pkg] {
		if is(r) {
			n++
		}
	}
	switch total := len(t.runs[pkg]); n {
	case 0:
		return "-"
	case total:
		return word
	default:
		return fmt.Sprintf("%s, in %d of %d runs", word, n, total)
	}
}

func (t table) rules(b *strings.Builder) {
	b.WriteString("\n## Rules\n\n\"-\": the case needs a capability or a means that the backend does not have, by the reasons below.\n\n")
	t.header(b, "case", "rule", "needs")
	for _, c := range backendtest.Cases() {
		cells := ruleCells(c)
		for _, p := range t.packages {
			cells = append(cells, t.outcome(p, c.Name))
		}
		row(b, cells...)
	}
}

// ruleCells are the cells of a rule that do not depend on a backend.
func ruleCells(c backendtest.Case) []string {
	return []string{"`" + c.Name + "`", strings.ReplaceAll(c.Rule, "|", `\|`), strings.Join(c.Needs, ", ")}
}

func (t table) outcome(pkg, name string) string {
	for _, r := range t.runs[pkg] {
		if o := r.Cases[name]; !o.Passed && len(o.Lacks) == 0 {
			return "FAILED"
		}
	}
	return t.share(pkg, "pass", func(r backendtest.Record) bool { return r.Cases[name].Passed })
}

func (t table) excuses(b *strings.Builder) {
	b.WriteString("\n## What is excused\n\n| backend | run | what | reason |\n|---|---|---|---|\n")
	for _, p := range t.packages {
		for _, r := range t.runs[p] {
			for _, name := range slices.Sorted(maps.Keys(r.Without)) {
				row(b, p, "`"+r.Test+"`", "`"+name+"`", strings.ReplaceAll(r.Without[name], "|", `\|`))
			}
		}
	}
}

func (t table) tests(b *strings.Builder) {
	b.WriteString("\n## Runs\n\n| backend | run | cases passed | not applicable |\n|---|---|---|---|\n")
	for _, p := range t.packages {
		for _, r := range t.runs[p] {
			passed, lacking := 0, 0
			for _, o := range r.Cases {
				switch {
				case o.Passed:
					passed++
				case len(o.Lacks) > 0:
					lacking++
				}
			}
			row(b, p, "`"+r.Test+"`", fmt.Sprint(passed), fmt.Sprint(lacking))
		}
	}
}
