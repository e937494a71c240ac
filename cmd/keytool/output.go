package main

import (
	"encoding/json"
	"fmt"
	"strings"
)

// schema is the version of the JSON documents. It grows when a field changes its
// meaning or goes; new fields do not change it.
const schema = 1

// document is what --json prints: one a run.
type document struct {
	Schema  int      `json:"schema"`
	Command string   `json:"command"`
	Result  any      `json:"result,omitempty"`
	Error   *problem `json:"error,omitempty"`
}

type problem struct {
	Message string `json:"message"`
	Exit    int    `json:"exit"`
}

// print writes the result of a command: lines for people, or one document.
func (a *app) print(result any, lines ...string) error {
	if a.json {
		a.printJSON(document{Result: result})
		return nil
	}
	for _, line := range lines {
		fmt.Fprintln(a.out, line)
	}
	return nil
}

func (a *app) printJSON(d document) {
	d.Schema, d.Command = schema, a.command
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(d); err != nil && a.out.err == nil {
		a.out.err = err
	}
}

// text removes the indentation that raw strings have in the source.
func text(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(strings.TrimPrefix(line, "\t\t\t"), "\t")
	}
	return strings.Join(lines, "\n")
}
