package main

import (
	"os"
	"strings"
	"testing"

	"github.com/cachekit-io/cachekit-go/backends/backendtest"
)

func TestConformance(t *testing.T) {
	backendtest.Run(t, backendtest.Harness{
		Open: func(testing.TB) backendtest.Subject { return backendtest.Subject{Backend: NewTable()} },
		Want: []string{"KeyRuler"},
		Without: map[string]string{
			"Other": "a table has one handle",
			"Stall": "no network that could be cut",
			"Kill":  "no server that could die",
			"Raw":   "a table has one handle",
		},
	})
}

// The backend has under 60 lines, the imports, comments and blank lines not
// counted, and docs/custom-backend.md shows it as it is.
func TestTableIsShort(t *testing.T) {
	source, err := os.ReadFile("table.go")
	if err != nil {
		t.Fatal(err)
	}
	_, code, found := strings.Cut(string(source), "\n)\n")
	n := 0
	for line := range strings.Lines(code) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
			n++
		}
	}
	if !found || n < 20 || n >= 60 {
		t.Errorf("table.go has %d lines of code, want under 60", n)
	}
	doc, err := os.ReadFile("../../docs/custom-backend.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), "```go\n"+string(source)+"```") {
		t.Error("docs/custom-backend.md does not show table.go as it is")
	}
}
