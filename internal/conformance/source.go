package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cachekit-io/cachekit-go/backends/backendtest"
)

// runID names a test that runs the suite, by its package.
type runID struct{ pkg, test string }

func (r runID) String() string { return r.pkg + "." + r.test }

// idOf names the test of a record; one test may make several runs, as subtests.
func idOf(r backendtest.Record) runID {
	test, _, _ := strings.Cut(r.Test, "/")
	return runID{r.Package, test}
}

// runsInSource returns the tests of the packages below root that reach
// backendtest.Run, in order.
func runsInSource(root string) (runs []runID, err error) {
	dirs, err := filepath.Glob(filepath.Join(root, "*"))
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		found, err := runsIn(dir)
		if err != nil {
			return nil, err
		}
		runs = append(runs, found...)
	}
	return runs, nil
}

// runsIn takes a function that mentions another one for its caller.
func runsIn(dir string) (runs []runID, err error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		return nil, err
	}
	mentions := map[string][]string{}
	for _, path := range paths {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				mentions[fn.Name.Name] = append(mentions[fn.Name.Name], names(fn)...)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(mentions)) {
		if strings.HasPrefix(name, "Test") && reaches(name, mentions, map[string]bool{}) {
			runs = append(runs, runID{filepath.Base(dir), name})
		}
	}
	return runs, nil
}

const suite = "backendtest.Run"

// names returns the identifiers in the body of fn, and suite if it calls that.
func names(fn *ast.FuncDecl) (found []string) {
	ast.Inspect(fn, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name+"."+n.Sel.Name == suite {
				found = append(found, suite)
			}
		case *ast.Ident:
			found = append(found, n.Name)
		}
		return true
	})
	return found
}

func reaches(name string, mentions map[string][]string, seen map[string]bool) bool {
	if name == suite {
		return true
	}
	if seen[name] {
		return false
	}
	seen[name] = true
	return slices.ContainsFunc(mentions[name], func(next string) bool { return reaches(next, mentions, seen) })
}

// missingRuns returns those that are wanted and not recorded.
func missingRuns(want []runID, records []backendtest.Record) (missing []runID) {
	for _, w := range want {
		if !slices.ContainsFunc(records, func(r backendtest.Record) bool { return w == idOf(r) }) {
			missing = append(missing, w)
		}
	}
	return missing
}
