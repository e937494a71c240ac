package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	aSeries  = regexp.MustCompile(`(?m)^([a-z][a-z0-9_]*)(?:\{(.*)\})? [0-9.e+-]+$`)
	label    = regexp.MustCompile(`([a-z_]+)="`)
	matchers = regexp.MustCompile(`([a-z][a-z0-9_]*)\{([^}]*)\}`)
	matcher  = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!=|=)`)
	grouping = regexp.MustCompile(`by \(([^)]*)\)`)
	named    = regexp.MustCompile(`\b(?:cachekit|db_client)_[a-z0-9_]+`)
)

// exported runs the example and returns the labels of every metric on its
// /metrics, and what it printed.
func exported(t *testing.T, charts string) (metrics map[string]map[string]bool, out string) {
	t.Helper()
	var buf bytes.Buffer
	if err := run(t.Context(), &buf, 1500*time.Millisecond, charts, "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	metrics = map[string]map[string]bool{}
	for _, m := range aSeries.FindAllStringSubmatch(buf.String(), -1) {
		if metrics[m[1]] == nil {
			metrics[m[1]] = map[string]bool{}
		}
		for _, l := range label.FindAllStringSubmatch(m[2], -1) {
			metrics[m[1]][l[1]] = true
		}
	}
	return metrics, buf.String()
}

// The run shows spans and metrics, every expression of the dashboard and of the
// rules names metrics and labels that it has exported, every metric is in the
// documentation, and the charts are well-formed.
func TestRun(t *testing.T) {
	charts := t.TempDir()
	metrics, out := exported(t, charts)
	for _, want := range []string{"GET /products/{id}", "\n  cachekit load ", "\n    cachekit loader ", "\n      SELECT products ",
		"circuit opened", "circuit closed", "failed authentication", "suppressed="} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not printed", want)
		}
	}
	for _, nonzero := range []string{"cachekit_auth_failures_total", "cachekit_absorbed_total", "cachekit_circuit_trips_total", "cachekit_l1_hits_total", "cachekit_key_opened_total", "cachekit_loads_total"} {
		if regexp.MustCompile(`(?m)^` + nonzero + `\{[^}]*\} 0$`).MatchString(out) {
			t.Errorf("%s is 0 at the end of the run", nonzero)
		}
	}
	exprs := expressions(t)
	if len(exprs) < 30 {
		t.Fatalf("only %d expressions found", len(exprs))
	}
	for _, e := range exprs {
		for _, problem := range check(e, metrics) {
			t.Errorf("%s\n\tin %s", problem, e)
		}
	}
	documented(t, metrics)
	files, _ := filepath.Glob(filepath.Join(charts, "*.svg"))
	if len(files) != 3 {
		t.Errorf("%d charts", len(files))
	}
	for _, f := range files {
		data, _ := os.ReadFile(f)
		wellFormed(t, data)
		if _, err := os.Stat(filepath.Join("../../docs/images", filepath.Base(f))); err != nil {
			t.Errorf("docs/images lacks %s: go run ./examples/observability -charts docs/images", filepath.Base(f))
		}
	}
}

// check says what of an expression nobody exports.
func check(expr string, metrics map[string]map[string]bool) (problems []string) {
	all := map[string]bool{"le": true}
	for _, m := range matchers.FindAllStringSubmatch(expr, -1) {
		for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
			if !metrics[m[1]][l[1]] {
				problems = append(problems, m[1]+" has no label "+l[1])
			}
		}
	}
	rest := matchers.ReplaceAllString(grouping.ReplaceAllString(expr, ""), "$1")
	names := named.FindAllString(rest, -1)
	if len(names) == 0 {
		problems = append(problems, "no metric")
	}
	for _, name := range names {
		if metrics[name] == nil {
			problems = append(problems, "there is no metric "+name)
		}
		for l := range metrics[name] {
			all[l] = true
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		for _, l := range strings.Split(g[1], ",") {
			if !all[strings.TrimSpace(l)] {
				problems = append(problems, "no metric has the label "+l)
			}
		}
	}
	if strings.Count(expr, "(") != strings.Count(expr, ")") {
		problems = append(problems, "unbalanced")
	}
	return problems
}

func expressions(t *testing.T) (exprs []string) {
	t.Helper()
	data, err := os.ReadFile("../../docs/dashboards/cachekit.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	if err := json.Unmarshal(data, &board); err != nil {
		t.Fatal(err)
	}
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			exprs = append(exprs, target.Expr)
		}
	}
	rules, err := os.ReadFile("../../docs/dashboards/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^\s+expr: (.*)$`).FindAllStringSubmatch(string(rules), -1) {
		exprs = append(exprs, m[1])
	}
	return exprs
}

// documented checks docs/observability.md against what is exported, both ways.
func documented(t *testing.T, metrics map[string]map[string]bool) {
	t.Helper()
	data, err := os.ReadFile("../../docs/observability.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(data)
	for name := range metrics {
		base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
		if strings.Contains(base, "cachekit") || strings.HasPrefix(base, "db_") {
			if !strings.Contains(doc, "`"+base+"`") {
				t.Errorf("docs/observability.md lacks %s", base)
			}
		}
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `[a-z0-9._]+` \\| `([a-z0-9_]+)` \\|").FindAllStringSubmatch(doc, -1) {
		if metrics[m[1]] == nil && metrics[m[1]+"_count"] == nil {
			t.Errorf("docs/observability.md has %s, which nobody exports", m[1])
		}
	}
}

// The check of the expressions does find what is wrong.
func TestCheckFindsMistakes(t *testing.T) {
	metrics := map[string]map[string]bool{"cachekit_sets_total": {"cachekit_cache": true}}
	for expr, ok := range map[string]bool{
		`sum by (cachekit_cache) (rate(cachekit_sets_total{cachekit_cache=~"$cache"}[5m]))`: true,
		`rate(cachekit_set_total[5m])`: false, `cachekit_sets_total{cache="x"}`: false, `sum by (cache) (cachekit_sets_total)`: false, `up`: false,
	} {
		if got := len(check(expr, metrics)) == 0; got != ok {
			t.Errorf("%s: %v", expr, check(expr, metrics))
		}
	}
}

func wellFormed(t *testing.T, data []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(data))
	lines := 0
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "polyline" {
			lines++
		}
	}
	if lines < 2 {
		t.Errorf("%d lines in a chart", lines)
	}
}
