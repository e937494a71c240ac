package faults_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cachekit-io/cachekit-go/secure"
)

var faultsPage = flag.String("faults-page", "", "the file to write the fault table to")

// profileNames are the profiles of the matrix.
var profileNames = []string{"secure", "minimal"}

// atOnce is how many cells run at a time: they mostly wait.
const atOnce = 10

// cells are the whole matrix, in the order of the page.
func cells(t *testing.T) (all []*cell) {
	add := func(f fault, b behaviour) {
		for _, backend := range matrixBackends {
			for _, profile := range profileNames {
				if f.on(backend) {
					all = append(all, &cell{fault: f, backend: backend, profile: profile, number: len(all), t: t, procedure: b.run, patient: b.patient, crowd: b.crowd, serial: b.serial})
				}
			}
		}
	}
	for _, f := range networkFaults {
		add(f, behaviour{run: (*cell).run})
	}
	for _, f := range slices.Concat(behaviours, clocks) {
		add(fault{name: f.name, what: f.what, on: f.on, alone: f.alone}, f)
	}
	return all
}

// Rule: whatever happens to the network, a server, another process or a loader,
// no value is wrong, every call ends with its context, GetOrLoad serves, and the
// cache is back without a restart when the storage is.
func TestFaults(t *testing.T) {
	t.Parallel()
	r, all := newRigs(t), cells(t)
	play(all, r, atOnce, false)
	play(all, r, 1, true) // they take the whole machine
	for _, c := range all {
		if c.serial {
			c.row = clockRows[c.number] // those of TestClocks, which ran before
		}
	}
	if *faultsPage != "" && len(clockRows) == 0 {
		t.Error("the page needs TestClocks")
	}
	if *faultsPage != "" && !t.Failed() {
		if err := os.WriteFile(*faultsPage, []byte(page(all)), 0o644); err != nil {
			t.Error(err)
		}
	}
	if testing.Verbose() {
		for _, c := range all {
			t.Log(c.name + " | " + c.line())
		}
	}
}

// play runs the crowds, or all other cells, so many at a time.
func play(all []*cell, r *rigs, atOnce int, crowds bool) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for _, c := range all {
		if c.crowd != crowds || c.serial {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			c.play(r)
		})
	}
	wg.Wait()
}

// play sets the cell up, runs it and tears it down.
func (c *cell) play(r *rigs) {
	defer c.tearDown()
	if c.fault.dns {
		c.dns = newResolver(c.t)
	}
	storage := c.storage
	if storage == nil {
		storage = func(t *testing.T) *rig { return r.build(t, c.backend, c.alone) }
	}
	if c.setUp(storage(c.t)) {
		c.procedure(c)
	}
}

const pageHead = `# Faults

Made by the suite itself, [internal/faults](../internal/faults): ` + "`make faults`" + ` writes this page, and a test fails if it is out
of date. Do not edit it. Every ` + "`go test`" + ` runs the whole table against real servers and fails where a promise is broken.

Each line is one cache whose backend gives up after %v by itself, with the default retries (` + "`secure`" + `) or none (` + "`minimal`" + `), over a
storage that a proxy or a signal disturbs. What the columns say:

- **Get**, **Set**, **GetOrLoad** of an entry that is in the storage and not in the process, **L1**: Get of one that has a copy in the
  process; by callers that wait for up to %v. "ok": the right value, stored, or the loader's value. "unavailable" is
  ` + "`secure.ErrUnavailable`" + `.
- **in time**: these calls, and others whose context ends after %v, all returned at most %v after their context.
- **wrong values**: values describe themselves; during the fault and after it, through this cache and through another process's, none
  was of another key or torn, none that was acknowledged was missing (but for servers that lose what they hold), and no write that
  had failed landed over a newer one of the other process.
- **back after**: from the end of the fault, or of the call, until reads and writes work again, by themselves. After slow DNS it is what
  package net waits for the question that it asked last.
`

// line is the cell's row.
func (c *cell) line() string {
	dash := func(s string) string {
		if s == "" {
			return "-"
		}
		return s
	}
	return strings.Join([]string{c.backend, c.profile, dash(c.row.Get), dash(c.row.Set), dash(c.row.Load), dash(c.row.Copy),
		c.row.Late, c.row.Wrong, dash(c.row.Back)}, " | ")
}

func page(all []*cell) string {
	var b strings.Builder
	fmt.Fprintf(&b, pageHead, ioLimit, patient, hasty, slack)
	name := ""
	for _, c := range all {
		if c.name != name {
			name = c.name
			b.WriteString(sectionHead(c))
		}
		fmt.Fprintf(&b, "| %s |\n", c.line())
	}
	return b.String()
}

func sectionHead(c *cell) string {
	return fmt.Sprintf("\n## %s\n\n%s\n\n| backend | profile | Get | Set | GetOrLoad | L1 | in time | wrong values | back after |\n|---|---|---|---|---|---|---|---|---|\n", c.name, c.what)
}

// Rule: the committed page has the faults, storages and profiles of the suite and
// no others. It needs no server to be found stale.
func TestThePageIsCurrent(t *testing.T) {
	text, err := os.ReadFile("../../docs/faults.md")
	if err != nil {
		t.Fatal(err)
	}
	const stale = "docs/faults.md is out of date; run make faults: "
	if head := fmt.Sprintf(pageHead, ioLimit, patient, hasty, slack); !strings.HasPrefix(string(text), head) {
		t.Error(stale + "its head is another one")
	}
	all := cells(t)
	rows, sections := 0, 0
	rest := string(text)
	for i, c := range all {
		if i == 0 || c.name != all[i-1].name {
			_, after, found := strings.Cut(rest, sectionHead(c))
			if !found {
				t.Fatal(stale + "it has no section " + c.name)
			}
			rest = after
			sections++
		}
		line, after, _ := strings.Cut(rest, "\n")
		if rest = after; !strings.HasPrefix(line, "| "+c.backend+" | "+c.profile+" | ") || strings.Count(line, " | ") != 8 {
			t.Errorf(stale+"%s has no %s, %s at its place", c.name, c.backend, c.profile)
		}
		rows++
	}
	if n := strings.Count(string(text), "\n## "); n != sections || sections != len(networkFaults)+len(behaviours)+len(clocks) {
		t.Errorf(stale+"it has %d sections, the suite %d", n, sections)
	}
	if n := strings.Count(string(text), "\n| ") - sections; n != rows {
		t.Errorf(stale+"it has %d rows, the suite %d", n, rows)
	}
	for _, word := range []string{"WRONG", "LOST", "LATE", "| NO |", "OTHER", "AUTH", "MALFORMED"} {
		if strings.Contains(string(text), word) {
			t.Errorf("the committed page says %s", word)
		}
	}
}

// Rule: the committed report of the soak is one of the present soak.
func TestTheSoaksPageIsCurrent(t *testing.T) {
	text, err := os.ReadFile("../../docs/soak.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(text), soakHead) {
		t.Error("docs/soak.md is out of date; run make soak: its head is another one")
	}
}

// Rule: a wrong value, a late call and an error of a class that the fault does
// not explain fail the suite.
func TestTheSuiteSees(t *testing.T) {
	c := &cell{t: new(testing.T), row: row{Wrong: "none", Late: "in time"}}
	if said := c.call(0, fine, func(context.Context) (string, error) { return "", secure.ErrAuth }); said != "AUTH" || !c.t.Failed() {
		t.Errorf("an authentication failure is shown as %q", said)
	}
	if v := newValue("a", 1); !v.isOf("a") || v.isOf("b") || (value{"a", 2, v.Data}).isOf("a") || (value{"a", 1, slices.Concat(v.Data, v.Data)}).isOf("a") {
		t.Error("a value does not describe itself")
	}
}
