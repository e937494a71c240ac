package main

import (
	"encoding/json"
	"fmt"
	"html"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// board is the dashboard, as far as it takes to draw it.
type board struct {
	Panels []struct {
		Title   string
		GridPos struct{ H, W, X, Y float64 }
		Targets []struct{ Expr, LegendFormat string }
	}
}

func readBoard(t testing.TB) (b board) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dashboards, "cachekit.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &b); err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	unitX, unitY = 42.0, 21.0 // of Grafana's grid
	mostLines    = 6          // in a legend
)

var colours = []string{"#2a7", "#27c", "#c72", "#c22", "#85b", "#555", "#099", "#b58900"}

// draw returns the dashboard as SVG, each panel with what Prometheus answers.
func (b board) draw(p prom, from, to time.Time) string {
	rows := 0.0
	for _, panel := range b.Panels {
		rows = max(rows, panel.GridPos.Y+panel.GridPos.H)
	}
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="sans-serif" font-size="10"><rect width="100%%" height="100%%" fill="#f4f5f5"/>`+"\n", 24*unitX, rows*unitY)
	for _, panel := range b.Panels {
		g := panel.GridPos
		fmt.Fprintf(&out, `<svg x="%.0f" y="%.0f" width="%.0f" height="%.0f"><rect x="3" y="3" width="%.0f" height="%.0f" fill="#fff" stroke="#ddd"/><text x="10" y="18" font-size="12" font-weight="bold">%s</text>`+"\n",
			g.X*unitX, g.Y*unitY, g.W*unitX, g.H*unitY, g.W*unitX-6, g.H*unitY-6, html.EscapeString(panel.Title))
		var lines []drawn
		for _, target := range panel.Targets {
			for _, s := range p.query(target.Expr, from, to) {
				lines = append(lines, drawn{legend(target.LegendFormat, s.Metric), s.points()})
			}
		}
		drawLines(&out, lines, plot{46, 26, g.W*unitX - 60, g.H*unitY - 74}, from, to)
		out.WriteString("</svg>\n")
	}
	out.WriteString("</svg>\n")
	return out.String()
}

type drawn struct {
	name   string
	points [][2]float64
}

type plot struct{ x, y, w, h float64 }

func drawLines(out *strings.Builder, lines []drawn, at plot, from, to time.Time) {
	highest := 0.0
	for _, l := range lines {
		for _, p := range l.points {
			highest = max(highest, p[1])
		}
	}
	top := highest
	if top == 0 {
		top = 1
	}
	fmt.Fprintf(out, `<path d="M%.0f %.0fv%.0fh%.0f" fill="none" stroke="#bbb"/><text x="%.0f" y="%.0f" text-anchor="end">%s</text><text x="%.0f" y="%.0f" text-anchor="end">0</text>`+"\n",
		at.x, at.y, at.h, at.w, at.x-4, at.y+8, short(top), at.x-4, at.y+at.h)
	start, length := float64(from.UnixMilli())/1000, to.Sub(from).Seconds()
	for n, l := range lines {
		var points strings.Builder
		for _, p := range l.points {
			fmt.Fprintf(&points, "%.1f,%.1f ", at.x+at.w*(p[0]-start)/length, at.y+at.h*(1-p[1]/top))
		}
		colour := colours[n%len(colours)]
		fmt.Fprintf(out, `<polyline points="%s" fill="none" stroke="%s"/>`+"\n", points.String(), colour)
		if n < mostLines {
			fmt.Fprintf(out, `<text x="%.0f" y="%.0f" fill="%s">%s</text>`+"\n",
				at.x+float64(n%2)*at.w/2, at.y+at.h+13+12*float64(n/2), colour, html.EscapeString(l.name))
		}
	}
}

// short is a number for an axis.
func short(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.0fM", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%.1fk", v/1e3)
	}
	return strconv.FormatFloat(v, 'g', 2, 64)
}

// points are the numbers of a series; NaN (no reads, say) is left out.
func (s series) points() (out [][2]float64) {
	for _, v := range s.Values {
		at, _ := v[0].(float64)
		text, _ := v[1].(string)
		if value, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(value) && !math.IsInf(value, 0) {
			out = append(out, [2]float64{at, value})
		}
	}
	return out
}

// legend fills in the labels of a legend.
func legend(format string, labels map[string]string) string {
	for name, value := range labels {
		format = strings.ReplaceAll(format, "{{"+name+"}}", value)
	}
	if all := []rune(format); len(all) > 24 {
		return string(all[:23]) + "…"
	}
	return format
}
