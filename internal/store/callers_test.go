package store_test

import (
	"go/ast"
	"go/types"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

const module = "github.com/cachekit-io/cachekit-go"

// mayWrite are the packages whose code, tests aside, may call a write method of
// a backend: this one, the contract and the backends themselves.
func mayWrite(path string) bool {
	return path == module+"/internal/store" || path == module+"/backends" || strings.HasPrefix(path, module+"/backends/")
}

// writes are the methods that hand bytes or a change to a storage, by the
// interface of package backends that has them.
var writes = map[string][]string{
	"Backend":      {"Set", "Delete"},
	"Batcher":      {"SetMany", "DeleteMany"},
	"TTLer":        {"Touch"},
	"Locker":       {"Lock", "Unlock"},
	"BatchLocker":  {"LockMany", "UnlockMany"},
	"Swapper":      {"Swap"},
	"Replacer":     {"Replace"},
	"BatchSwapper": {"SwapMany"},
	"Rewriter":     {"RewriteMany"},
}

// Only sealed bytes can reach a backend (DESIGN.md, I1) because package store,
// whose writes take an envelope.Sealed, is the only one that writes. This test
// proves the latter over the types of the whole module, whatever the variable,
// field, embedding or method value through which a write is reached.
func TestOnlyTheStoreWritesToBackends(t *testing.T) {
	pkgs, err := packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedImports | packages.NeedDeps | packages.NeedTypes | packages.NeedSyntax | packages.NeedTypesInfo,
		Dir:  "../..",
	}, "./...")
	if err != nil {
		t.Fatal(err)
	}
	targets := map[*types.Interface][]string{}
	checked := 0
	packages.Visit(pkgs, nil, func(p *packages.Package) {
		if p.PkgPath == module+"/backends" {
			for name, methods := range writes {
				iface, ok := p.Types.Scope().Lookup(name).Type().Underlying().(*types.Interface)
				if !ok {
					t.Fatalf("backends.%s is no interface", name)
				}
				targets[iface] = methods
			}
		}
	})
	if len(targets) != len(writes) {
		t.Fatalf("%d of the %d interfaces found", len(targets), len(writes))
	}
	allowed := 0
	for _, p := range pkgs {
		if len(p.Errors) > 0 {
			t.Fatalf("%s does not load: %v", p.PkgPath, p.Errors[0])
		}
		checked++
		for _, use := range writesIn(p, targets) {
			if mayWrite(p.PkgPath) {
				allowed++
				continue
			}
			t.Errorf("%s: %s writes to a backend past internal/store", p.Fset.Position(use.Pos()), use.Sel.Name)
		}
	}
	if checked < 10 || allowed < 5 {
		t.Errorf("%d packages with %d writes were seen: this test looks at too little", checked, allowed)
	}
}

// writesIn returns the selections of a write method on a value that implements
// one of the interfaces.
func writesIn(p *packages.Package, targets map[*types.Interface][]string) (found []*ast.SelectorExpr) {
	for expr, selection := range p.TypesInfo.Selections {
		if selection.Kind() == types.FieldVal || p.TypesInfo.Types[expr].Type == nil {
			continue
		}
		for iface, methods := range targets {
			for _, m := range methods {
				if expr.Sel.Name == m && implements(receiver(selection), iface) {
					found = append(found, expr)
				}
			}
		}
	}
	return found
}

// receiver is the type that declares the selected method, also when it is
// reached through embedding.
func receiver(s *types.Selection) types.Type {
	sig, ok := s.Obj().Type().(*types.Signature)
	if !ok || sig.Recv() == nil {
		return s.Recv()
	}
	return sig.Recv().Type()
}

func implements(t types.Type, iface *types.Interface) bool {
	return types.Implements(t, iface) || types.Implements(types.NewPointer(t), iface)
}
