package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

var picture = flag.String("picture", "", "the file to draw the dashboard to, as Prometheus answers it")

const dashboards = "../../docs/dashboards"

// promtool accepts the rules, and they fire when their tests say.
func TestRules(t *testing.T) {
	tool := testenv.RequireTool(t, "promtool")
	for _, args := range [][]string{{"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"}} {
		cmd := exec.Command(tool, args...)
		cmd.Dir = dashboards
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	tests, err := os.ReadFile(filepath.Join(dashboards, "alerts_test.yml"))
	if err != nil {
		t.Fatal(err)
	}
	rules, err := os.ReadFile(filepath.Join(dashboards, "alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(rules)) {
		if _, name, found := strings.Cut(strings.TrimSpace(line), "- alert: "); found && !strings.Contains(string(tests), "alertname: "+name+"\n") {
			t.Errorf("no test has %s fire", name)
		}
	}
}

// A Prometheus scrapes the example. It accepts the rules, of which the one on
// authentication fires, and has an answer to every query of the dashboard.
func TestOnPrometheus(t *testing.T) {
	rules, err := filepath.Abs(filepath.Join(dashboards, "alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprint("127.0.0.1:", testenv.FreePorts(t, 1)[0])
	p := prom{t, testenv.Prometheus(t, fmt.Sprintf("global: {scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 250ms}\n"+
		"rule_files: [%q]\nscrape_configs: [{job_name: shop, static_configs: [{targets: [%q]}]}]\n", rules, addr))}
	p.scrapes()
	from, phase := time.Now(), 2*time.Second
	if *picture != "" {
		phase = 6 * time.Second
	}
	if err := run(t.Context(), io.Discard, phase, "", addr); err != nil {
		t.Fatal(err)
	}
	to := time.Now()
	p.rules()
	for _, state := range []string{"open", "closed"} {
		answer := p.query(`max_over_time(cachekit_circuit_state{cachekit_circuit_state="`+state+`"}[1m])`, from, to)
		if !strings.Contains(fmt.Sprint(answer), " 1]") {
			t.Errorf("Prometheus has not seen the circuit %s", state)
		}
	}
	b := readBoard(t)
	for _, panel := range b.Panels {
		for _, target := range panel.Targets {
			if answer := p.query(target.Expr, from, to); len(answer) == 0 {
				t.Errorf("%s: Prometheus has no answer to %s", panel.Title, target.Expr)
			}
		}
	}
	if *picture != "" {
		if err := os.WriteFile(*picture, []byte(b.draw(p, from, to)), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// prom is a Prometheus and its API.
type prom struct {
	t   testing.TB
	url string
}

// get reads the data of an answer into v.
func (p prom) get(path string, v any) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Status != "success" {
		p.t.Fatalf("%s: %v %s", path, err, answer.Error)
	}
	if err := json.Unmarshal(answer.Data, v); err != nil {
		p.t.Fatal(err)
	}
}

// scrapes waits until the example is among the targets: Prometheus takes seconds
// to begin.
func (p prom) scrapes() {
	p.t.Helper()
	testenv.Poll(p.t, 30*time.Second, "the first scrape", func() bool {
		var data struct {
			ActiveTargets []struct{ LastScrape time.Time }
		}
		p.get("/api/v1/targets", &data)
		return len(data.ActiveTargets) == 1 && !data.ActiveTargets[0].LastScrape.IsZero()
	})
}

// rules waits until all rules are evaluated, and checks them.
func (p prom) rules() {
	p.t.Helper()
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError, State string }
		}
	}
	testenv.Poll(p.t, 30*time.Second, "the alert of the tampered entries", func() bool {
		p.get("/api/v1/rules", &data)
		for _, r := range data.Groups[0].Rules {
			if r.Name == "CachekitAuthenticationFailure" && r.State == "firing" {
				return true
			}
		}
		return false
	})
	for _, r := range data.Groups[0].Rules {
		if r.Health != "ok" || r.LastError != "" {
			p.t.Errorf("%s: %s %s", r.Name, r.Health, r.LastError)
		}
	}
}

// series is one line of an answer.
type series struct {
	Metric map[string]string
	Values [][2]any
}

// query asks as Grafana would, with a window of two seconds for rates.
func (p prom) query(expr string, from, to time.Time) []series {
	p.t.Helper()
	expr = strings.NewReplacer("$cache", ".*", "$__rate_interval", "2s", "$__range", "10s").Replace(expr)
	stamp := func(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }
	var data struct{ Result []series }
	p.get("/api/v1/query_range?"+url.Values{"query": {expr}, "start": {stamp(from)}, "end": {stamp(to)}, "step": {"0.25"}}.Encode(), &data)
	return data.Result
}
