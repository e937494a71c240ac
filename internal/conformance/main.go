// Conformance merges the records of backendtest into docs/conformance.md:
//
//	go run ./internal/conformance DIR docs/conformance.md
//	go run ./internal/conformance
//
// The second prints a pattern for go test -run that runs what has to be
// recorded. DIR is what CACHEKIT_CONFORMANCE_DIR named during the runs; see `make
// conformance`. It exits with 1 if a case failed or a run is missing.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cachekit-io/cachekit-go/backends/backendtest"
)

func main() {
	log.SetFlags(0)
	var err error
	switch len(os.Args) {
	case 1:
		err = pattern()
	case 3:
		err = generate(os.Args[1], os.Args[2])
	default:
		log.Fatal("usage: conformance [DIR FILE]")
	}
	if err != nil {
		log.Fatal("conformance: ", err)
	}
}

func pattern() error {
	runs, err := runsInSource("backends")
	var tests []string
	for _, r := range runs {
		tests = append(tests, r.test)
	}
	slices.Sort(tests)
	fmt.Printf("^(%s)$\n", strings.Join(slices.Compact(tests), "|"))
	return err
}

func generate(dir, file string) error {
	records, err := read(dir)
	if err != nil {
		return err
	}
	want, err := runsInSource("backends")
	if err != nil {
		return err
	}
	records = slices.DeleteFunc(records, func(r backendtest.Record) bool { return !slices.Contains(want, idOf(r)) })
	if missing := missingRuns(want, records); len(missing) > 0 {
		return fmt.Errorf("no complete record of %v", missing)
	}
	if err := os.WriteFile(file, []byte(newTable(records).String()), 0o644); err != nil {
		return err
	}
	for _, r := range records {
		for name, o := range r.Cases {
			if !o.Passed && len(o.Lacks) == 0 {
				return fmt.Errorf("%s of %s failed %s", r.Test, r.Package, name)
			}
		}
	}
	return nil
}

func read(dir string) (records []backendtest.Record, err error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var r backendtest.Record
		if err := json.Unmarshal(text, &r); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		records = append(records, r)
	}
	return records, nil
}
