package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// history is what was scraped, by series: the name with the labels that matter.
type history struct {
	times  []time.Time
	values []map[string]float64
	text   string // of the last scrape
}

// scrape reads the program's own /metrics, as Prometheus does.
func (h *history) scrape(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	h.text = string(body)
	values := map[string]float64{}
	for lines := bufio.NewScanner(strings.NewReader(h.text)); lines.Scan(); {
		series, number, ok := cutLast(lines.Text())
		if v, err := strconv.ParseFloat(number, 64); ok && err == nil {
			values[series] = v
		}
	}
	h.times, h.values = append(h.times, time.Now()), append(h.values, values)
	return nil
}

func cutLast(line string) (series, number string, ok bool) {
	i := strings.LastIndexByte(line, ' ')
	if i < 0 || strings.HasPrefix(line, "#") {
		return "", "", false
	}
	return line[:i], line[i+1:], true
}

// at sums the series of scrape i that begin with prefix and hold all of with.
func (h *history) at(i int, prefix string, with ...string) (sum float64) {
next:
	for series, v := range h.values[i] {
		if name, _, _ := strings.Cut(series, "{"); name != prefix {
			continue
		}
		for _, w := range with {
			if !strings.Contains(series, w) {
				continue next
			}
		}
		sum += v
	}
	return sum
}

// rate is the increase a second up to scrape i.
func (h *history) rate(i int, prefix string, with ...string) float64 {
	if i == 0 {
		return 0
	}
	return (h.at(i, prefix, with...) - h.at(i-1, prefix, with...)) / h.times[i].Sub(h.times[i-1]).Seconds()
}

// chart is a picture of some lines over the run.
type chart struct {
	file, title string
	lines       []line
}

type line struct {
	name, colour string
	value        func(h *history, i int) float64
}

var charts = []chart{
	{"observability-reads.svg", "Reads per second", []line{
		{"served by the process", "#2a7", func(h *history, i int) float64 { return h.rate(i, "cachekit_l1_hits_total") }},
		{"found in the backend", "#27c", func(h *history, i int) float64 { return h.rate(i, "cachekit_backend_hits_total") }},
		{"loaded", "#c72", func(h *history, i int) float64 { return h.rate(i, "cachekit_loads_total") }},
	}},
	{"observability-trouble.svg", "Failures per second, and the circuit", []line{
		{"authentication failures", "#c22", func(h *history, i int) float64 { return h.rate(i, "cachekit_auth_failures_total") }},
		{"absorbed outages", "#c72", func(h *history, i int) float64 { return h.rate(i, "cachekit_absorbed_total") }},
		{"circuit open (0 or 1000)", "#555", func(h *history, i int) float64 {
			return 1000 * h.at(i, "cachekit_circuit_state", `cachekit_circuit_state="open"`)
		}},
	}},
	{"observability-keys.svg", "Reads per second served by each key: the drain of the old one", []line{
		{"current key", "#2a7", func(h *history, i int) float64 {
			return h.rate(i, "cachekit_key_opened_total", `cachekit_key_role="current"`)
		}},
		{"previous key", "#c22", func(h *history, i int) float64 {
			return h.rate(i, "cachekit_key_opened_total", `cachekit_key_role="previous"`)
		}},
	}},
}

const width, height, left, top = 720.0, 240.0, 60.0, 30.0

// draw returns the chart as SVG.
func (c chart) draw(h *history) string {
	highest := 1.0
	for i := range h.times {
		for _, l := range c.lines {
			highest = max(highest, l.value(h, i))
		}
	}
	total := h.times[len(h.times)-1].Sub(h.times[0]).Seconds()
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="sans-serif" font-size="12">`+"\n", left+width+20, top+height+40)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#fff"/><text x="%.0f" y="18" font-size="14">%s</text>`+"\n", left, c.title)
	for n, name := range []string{"all well", "storage down", "back", "tampered with", "all well, rewritten"} {
		x := left + width*float64(n)/5
		fmt.Fprintf(&b, `<rect x="%.0f" y="%.0f" width="%.0f" height="%.0f" fill="%s"/><text x="%.0f" y="%.0f" fill="#888">%s</text>`+"\n",
			x, top, width/5, height, []string{"#fff", "#f6f6f6"}[n%2], x+4, top+height+15, name)
	}
	fmt.Fprintf(&b, `<text x="%.0f" y="%.0f" text-anchor="end">%.0f</text><text x="%.0f" y="%.0f" text-anchor="end">0</text>`+"\n", left-5, top+10, highest, left-5, top+height)
	for n, l := range c.lines {
		var points strings.Builder
		for i, at := range h.times {
			fmt.Fprintf(&points, "%.1f,%.1f ", left+width*at.Sub(h.times[0]).Seconds()/total, top+height*(1-l.value(h, i)/highest))
		}
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.5"/><text x="%.0f" y="%.0f" fill="%s">%s</text>`+"\n",
			points.String(), l.colour, left+float64(n)*190, top+height+32, l.colour, l.name)
	}
	b.WriteString("</svg>\n")
	return b.String()
}
