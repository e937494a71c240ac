package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/backendtest"
	"github.com/cachekit-io/cachekit-go/backends/memorybackend"
)

// page returns the committed table.
func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// section returns the rows of a section, without its head.
func section(t *testing.T, page, title string) []string {
	t.Helper()
	_, rest, found := strings.Cut(page, "\n## "+title+"\n")
	if !found {
		t.Fatalf("the page has no section %q", title)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	_, rest, found = strings.Cut(rest, "\n|---")
	_, rest, _ = strings.Cut(rest, "\n")
	if !found {
		t.Fatalf("section %q has no table", title)
	}
	return strings.Split(strings.TrimSpace(rest), "\n")
}

const stale = "docs/conformance.md is out of date; run make conformance: "

// Rule: the committed table has the rules of the suite and no others, and the
// runs that the tests in backends/ make. It needs no server to be found stale.
func TestTheTableIsCurrent(t *testing.T) {
	text := page(t)
	rules, cases := section(t, text, "Rules"), backendtest.Cases()
	if len(rules) != len(cases) {
		t.Errorf(stale+"it has %d rules, the suite %d", len(rules), len(cases))
	}
	for i, c := range cases {
		if want := "| " + strings.Join(ruleCells(c), " | ") + " |"; i >= len(rules) || !strings.HasPrefix(rules[i], want) {
			t.Errorf(stale+"rule %d is not %s", i+1, c.Name)
		}
	}
	names := backendtest.Capabilities()
	for i, line := range section(t, text, "Capabilities") {
		if i >= len(names) || !strings.HasPrefix(line, "| `"+names[i]+"` |") {
			t.Errorf(stale+"capability %d is not one of the suite's", i+1)
		}
	}
	want, err := runsInSource("../../backends")
	if err != nil {
		t.Fatal(err)
	}
	if len(want) < 5 {
		t.Errorf("only %d runs are found in the source: this test looks at too little", len(want))
	}
	lines := section(t, text, "Runs")
	var got []runID
	for _, line := range lines {
		cells := strings.Split(line, " | ")
		got = append(got, idOf(backendtest.Record{Package: strings.TrimPrefix(cells[0], "| "), Test: strings.Trim(cells[1], "`")}))
	}
	for _, id := range want {
		if !slices.Contains(got, id) {
			t.Errorf(stale+"it has no %s", id)
		}
	}
	for _, id := range got {
		if !slices.Contains(want, id) {
			t.Errorf(stale+"no test makes its run %s", id)
		}
	}
	if strings.Contains(text, "FAILED") {
		t.Error("the committed table has a failure")
	}
}

// Rule: of each run in the table, every case passed or was not applicable.
func TestTheRunsAreComplete(t *testing.T) {
	cells := regexp.MustCompile(`\| (\d+) \| (\d+) \|$`)
	for _, line := range section(t, page(t), "Runs") {
		n := cells.FindStringSubmatch(line)
		if n == nil || atoi(n[1])+atoi(n[2]) != len(backendtest.Cases()) {
			t.Errorf(stale+"a run does not account for all cases: %s", line)
		}
	}
}

func atoi(digits string) (n int) {
	for _, d := range digits {
		n = 10*n + int(d-'0')
	}
	return n
}

func records(outcome backendtest.Outcome) []backendtest.Record {
	all := map[string]backendtest.Outcome{}
	for _, c := range backendtest.Cases() {
		all[c.Name] = backendtest.Outcome{Passed: true}
	}
	other := map[string]backendtest.Outcome{}
	for name, o := range all {
		other[name] = o
	}
	other["Miss"] = outcome
	return []backendtest.Record{
		{Package: "b", Test: "TestConformanceTwo/sub", Capabilities: []string{"Locker"}, Cases: other, Without: map[string]string{"Raw": "a | b"}},
		{Package: "b", Test: "TestConformanceOne", Cases: all},
		{Package: "a", Test: "TestConformance", Capabilities: []string{"Locker", "Scanner"}, Cases: all},
	}
}

// Rule: the table shows what was recorded: a failure before anything, a case that
// some runs lack as a share, an excuse with its reason.
func TestTable(t *testing.T) {
	for _, tc := range []struct {
		outcome backendtest.Outcome
		want    string
	}{
		{backendtest.Outcome{Passed: true}, "| pass | pass |"},
		{backendtest.Outcome{Lacks: []string{"Stall"}}, "| pass | pass, in 1 of 2 runs |"},
		{backendtest.Outcome{}, "| pass | FAILED |"},
	} {
		text := newTable(records(tc.outcome)).String()
		if line := section(t, text, "Rules")[0]; !strings.HasPrefix(line, "| `Miss` |") || !strings.HasSuffix(line, tc.want) {
			t.Errorf("%+v is shown as %s", tc.outcome, line)
		}
		for _, want := range []string{"| `Locker` | yes | yes, in 1 of 2 runs |", "| `Scanner` | yes | - |", "| b | `TestConformanceTwo/sub` | `Raw` | a \\| b |"} {
			if !strings.Contains(text, want+"\n") {
				t.Errorf("the table lacks %s:\n%s", want, text)
			}
		}
	}
}

// Rule: records are read back as they were written, and a run without one is
// missed.
func TestRecords(t *testing.T) {
	dir := t.TempDir()
	for _, r := range records(backendtest.Outcome{})[1:] {
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, r.Package+".json"), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := read(dir)
	if err != nil || len(got) != 2 {
		t.Fatalf("read = %d records, %v", len(got), err)
	}
	missing := missingRuns([]runID{{"a", "TestConformance"}, {"b", "TestConformanceTwo"}}, got)
	if len(missing) != 1 || missing[0].String() != "b.TestConformanceTwo" {
		t.Errorf("missing = %v", missing)
	}
}

// Rule: a run is recorded in full, with what it lacks, and the committed table
// shows the same of the backend that needs no server.
func TestARunIsRecorded(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(backendtest.RecordEnv, dir)
	backendtest.Run(t, backendtest.Harness{
		Without: map[string]string{"Raw": "not needed here"},
		Open: func(testing.TB) backendtest.Subject {
			clock := memorybackend.NewClock(time.Now())
			b := memorybackend.New(&memorybackend.Options{Clock: clock})
			return backendtest.Subject{
				Backend: b, Other: func(testing.TB) backends.Backend { return b.Peer() }, Advance: clock.Advance,
				Stall: b.Stall, Resume: b.Resume, Kill: func() { b.Fail(backends.Transient) },
			}
		},
	})
	got, err := read(dir)
	if err != nil || len(got) != 1 {
		t.Fatalf("read = %d records, %v", len(got), err)
	}
	r := got[0]
	if r.Package != "conformance" || r.Test != t.Name() || len(r.Cases) != len(backendtest.Cases()) || r.Without["Raw"] == "" {
		t.Errorf("the record is %+v", r)
	}
	for name, o := range r.Cases {
		if o.Passed == (len(o.Lacks) > 0) {
			t.Errorf("%s: %+v", name, o)
		}
	}
	if o := r.Cases["StoresBytesAsGiven"]; len(o.Lacks) != 1 || o.Lacks[0] != "Raw" {
		t.Errorf("a case without its means is %+v", o)
	}
	text := page(t)
	at := slices.Index(strings.Split(strings.Split(text, "\n## Capabilities\n\n")[1], " | "), "memorybackend")
	for i, line := range section(t, text, "Capabilities") {
		name := backendtest.Capabilities()[i]
		if shown := strings.Split(line, " | ")[at] != "-"; shown != slices.Contains(r.Capabilities, name) {
			t.Errorf(stale+"it is wrong about %s of memorybackend", name)
		}
	}
}
