package backendtest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// RecordEnv names the variable of a directory that exists. If it is set, Run
// writes a [Record] of each run there, as JSON. (go test caches: use -count=1.)
const RecordEnv = "CACHEKIT_CONFORMANCE_DIR"

// Record is what a run found out about a backend.
type Record struct {
	// Package is the name of the tested package, Test that of the test that
	// called Run.
	Package, Test string
	// Capabilities are those of the backend, as Harness.Want names them.
	Capabilities []string
	// Without are the harness's excuses.
	Without map[string]string
	// Cases has the outcome of each case by its name.
	Cases map[string]Outcome
}

// Outcome says what became of a case.
type Outcome struct {
	// Passed is true if the case was run and found nothing.
	Passed bool
	// Lacks names what the case needs and the run did not have; the case was
	// not run then.
	Lacks []string `json:",omitempty"`
}

// write stores r in the directory of RecordEnv, if there is one. A run of some
// cases only (go test -run) is not recorded.
func (r Record) write(t *testing.T) {
	t.Helper()
	dir := os.Getenv(RecordEnv)
	if dir == "" || len(r.Cases) != len(Cases()) {
		return
	}
	text, err := json.MarshalIndent(r, "", "\t")
	if err == nil {
		name := r.Package + "." + strings.ReplaceAll(r.Test, "/", ".") + ".json"
		err = os.WriteFile(filepath.Join(dir, name), append(text, '\n'), 0o600)
	}
	if err != nil {
		t.Errorf("backendtest: record of the run: %v", err)
	}
}

// newRecord takes the name of the package from the test binary.
func newRecord(t *testing.T, h Harness, has []string) Record {
	program := filepath.Base(os.Args[0])
	r := Record{
		Package: strings.TrimSuffix(strings.TrimSuffix(program, ".exe"), ".test"), Test: t.Name(),
		Without: h.Without, Cases: map[string]Outcome{},
	}
	for _, name := range has {
		if slices.Contains(Capabilities(), name) {
			r.Capabilities = append(r.Capabilities, name)
		}
	}
	return r
}

// lacks returns what of the case's needs is not there.
func (c Case) lacks(has []string) (missing []string) {
	for _, name := range c.Needs {
		if !slices.Contains(has, name) {
			missing = append(missing, name)
		}
	}
	return missing
}
