package claims_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// testsOf returns the test, example and fuzz functions of each folder.
func testsOf(t *testing.T) map[string]map[string]*ast.FuncDecl {
	t.Helper()
	found := map[string]map[string]*ast.FuncDecl{}
	check(t, filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(file, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(file))
		folder := filepath.ToSlash(rel)
		if found[folder] == nil {
			found[folder] = map[string]*ast.FuncDecl{}
		}
		for _, decl := range f.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil {
				found[folder][fn.Name.Name] = fn
			}
		}
		return err
	}))
	return found
}

// named are the tests in a line of SECURITY.md: "`folder`: TestOne, FuzzTwo;".
var named = regexp.MustCompile("`([a-z0-9/]+)`: ((?:(?:Test|Fuzz|Example)[A-Za-z0-9_]*(?:, )?)+)")

// Rule: each claim of SECURITY.md names a test, and each test that it names is
// in the tree.
func TestSecurityNamesTestsThatExist(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "SECURITY.md"))
	check(t, err)
	tests := testsOf(t)
	count := 0
	for _, m := range named.FindAllStringSubmatch(string(text), -1) {
		for _, name := range strings.Split(strings.TrimSuffix(m[2], ", "), ", ") {
			count++
			if tests[m[1]][name] == nil {
				t.Errorf("SECURITY.md names %s: %s, which is not there", m[1], name)
			}
		}
	}
	mentions := regexp.MustCompile(`\b(Test|Fuzz)[A-Z][A-Za-z0-9_]+`).FindAllString(string(text), -1)
	if count < 40 || count != len(mentions) {
		t.Errorf("%d tests are named with their folder, of %d that are mentioned", count, len(mentions))
	}
	for _, row := range regexp.MustCompile(`(?m)^\| .*$`).FindAllString(string(text), -1) {
		if cells := strings.Count(row, " | "); !strings.Contains(row, "| test") && cells == 2 && !named.MatchString(row) {
			t.Errorf("a claim without a test: %s", row)
		}
	}
}

// Rule: make soak runs every test that has a long form.
func TestLongFormsAreInTheSoak(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	check(t, err)
	line := regexp.MustCompile(`(?m)^LONG = .*$`).FindString(string(makefile))
	count := 0
	for folder, funcs := range testsOf(t) {
		for name, fn := range funcs {
			ast.Inspect(fn, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok && len(call.Args) == 1 {
					if arg, ok := call.Args[0].(*ast.BasicLit); ok && arg.Value == `"CACHEKIT_SOAK"` {
						count++
						if !strings.Contains(line, name) || !strings.Contains(string(makefile), "./"+folder) {
							t.Errorf("make soak does not run %s", path.Join(folder, name))
						}
					}
				}
				return true
			})
		}
	}
	if count != strings.Count(line, "Test") {
		t.Errorf("%d tests have a long form, make soak names others: %s", count, line)
	}
}

// parsers are the packages that read foreign bytes, and the targets that feed them.
var parsers = map[string]string{
	"internal/envelope":         "FuzzOpen",
	"codec":                     "FuzzUnmarshal FuzzAgainstMsgpack",
	"codec/interop":             "FuzzSegments FuzzKeyIsDeterministic",
	"codec/container":           "FuzzOpenV2 FuzzOpenByteStorage",
	"keys/keyfile":              "FuzzFile",
	"internal/guard":            "FuzzAnswer FuzzRetryAfter FuzzParse",
	"internal/freshness":        "FuzzFor",
	"internal/pathkey":          "FuzzEncode",
	"backends/cachekitio":       "FuzzBodies FuzzRefusals",
	"backends/dynamodbbackend":  "FuzzAnswer",
	"backends/filebackend":      "FuzzRead",
	"backends/httpbackend":      "FuzzUnframe",
	"backends/memcachedbackend": "FuzzAnswer FuzzReplies FuzzServers",
	"backends/redisbackend":     "FuzzFrames FuzzReply FuzzAnswers FuzzHear FuzzCursor",
}

// Rule: every package that reads foreign bytes has its fuzz targets, and no target
// is of a package that the list does not know.
func TestEveryParserHasAFuzzTarget(t *testing.T) {
	tests := testsOf(t)
	for folder, names := range parsers {
		for _, name := range strings.Fields(names) {
			if tests[folder][name] == nil {
				t.Errorf("%s has no %s", folder, name)
			}
		}
	}
	for folder, funcs := range tests {
		for name := range funcs {
			if strings.HasPrefix(name, "Fuzz") && !slices.Contains(strings.Fields(parsers[folder]), name) {
				t.Errorf("%s: %s is not in the list", folder, name)
			}
		}
	}
}

// Rule: every fuzz target has seeds.
func TestFuzzTargetsHaveSeeds(t *testing.T) {
	count := 0
	for folder, funcs := range testsOf(t) {
		for name, fn := range funcs {
			if !strings.HasPrefix(name, "Fuzz") {
				continue
			}
			count++
			seeded := false
			ast.Inspect(fn, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Add" {
					seeded = true
				}
				if id, ok := call.Fun.(*ast.Ident); ok && strings.Contains(strings.ToLower(id.Name), "seed") {
					seeded = true
				}
				return true
			})
			if !seeded {
				t.Errorf("%s has no seeds", path.Join(folder, name))
			}
		}
	}
	if count < 20 {
		t.Errorf("%d fuzz targets were found", count)
	}
}
