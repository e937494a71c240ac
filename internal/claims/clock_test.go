package claims_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// wallClock are the files that may make a number of the wall clock, and why: what
// is stored in such a number and compared later moves when the clock is set. All
// that is of this process alone is told by internal/mono or a time.Time.
var wallClock = map[string]string{
	"codec/args.go":                          "a time that a program caches by",
	"l1/clock.go":                            "compared with the monotonic clock, to see leaps",
	"internal/envelope/nonce.go":             "compared with the monotonic clock, to see leaps",
	"backends/filebackend/header.go":         "the format of the family",
	"backends/filebackend/locker.go":         "shared with other processes",
	"backends/filebackend/evict.go":          "access times of files",
	"backends/dynamodbbackend/item.go":       "shared with other machines",
	"backends/dynamodbbackend/stamp.go":      "shared with other machines, and increasing",
	"backends/httpbackend/ttl.go":            "shared with other machines",
	"backends/cachekitio/headers.go":         "a header, and nothing else",
	"backends/cachekitio/iotest/handlers.go": "a server for tests",
	"backends/cachekitio/iotest/entry.go":    "a server for tests",
	"internal/peers/tagged.go":               "a value of a test",
}

// Rule: no other code keeps wall-clock time as a number.
func TestNoWallClockIsKept(t *testing.T) {
	seen := map[string]bool{}
	check(t, filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		rel, err := filepath.Rel(root, file)
		name := filepath.ToSlash(rel)
		if err != nil || strings.HasPrefix(name, "examples/") || strings.HasPrefix(name, ".cache/") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) > 0 {
				return true
			}
			if s, ok := call.Fun.(*ast.SelectorExpr); ok && strings.HasPrefix(s.Sel.Name, "Unix") {
				if seen[name] = true; wallClock[name] == "" {
					t.Errorf("%s has %s of the wall clock", name, s.Sel.Name)
				}
			}
			return true
		})
		return nil
	}))
	for name := range wallClock {
		if !seen[name] {
			t.Errorf("%s has no wall clock any more", name)
		}
	}
}
