// Observability shows what a cache tells an operator: spans, and metrics scraped
// from its own /metrics, over a few seconds in which the storage fails, comes
// back, is tampered with, and a key is rotated. It needs no server.
//
//	go run ./examples/observability
//	go run ./examples/observability -charts docs/images   # draws the scrapes
//	go run ./examples/observability -for 1m -listen 127.0.0.1:9464   # for your own Prometheus
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

func main() {
	charts := flag.String("charts", "", "write SVG charts of the run to this folder")
	listen := flag.String("listen", "127.0.0.1:0", "the address of /metrics")
	long := flag.Duration("for", 2*time.Second, "how long each of the five phases lasts")
	flag.Parse()
	if err := run(context.Background(), os.Stdout, *long, *charts, *listen); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, to io.Writer, phase time.Duration, charts, listen string) error {
	out := &shared{w: to}
	spans := new(printer)
	traces := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	registry := prometheus.NewRegistry()
	exporter, err := otelprom.New(otelprom.WithRegisterer(registry), otelprom.WithoutScopeInfo())
	if err != nil {
		return err
	}
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter))
	otel.SetTracerProvider(traces)
	otel.SetMeterProvider(meters)
	defer traces.Shutdown(ctx)
	defer meters.Shutdown(ctx)

	url, stop, err := serve(registry, listen)
	if err != nil {
		return err
	}
	defer stop()
	logger := slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
	s, err := newShop(ctx, logger)
	if err != nil {
		return err
	}
	defer s.close()

	if err := s.request(ctx); err != nil {
		return err
	}
	fmt.Fprintf(out, "spans of one request:\n%s\n", spans.take())
	fmt.Fprintln(out, "log of the run:")
	h := new(history)
	if err := s.play(ctx, phase, func() error { return h.scrape(ctx, url) }); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nmetrics, as scraped from %s:\n%s", "/metrics", h.text)
	if charts == "" {
		return nil
	}
	return drawAll(charts, h)
}

// shared is a writer for several goroutines: a cache logs in the background too.
type shared struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(p)
}

func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// serve answers /metrics.
func serve(registry *prometheus.Registry, addr string) (url string, stop func(), err error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	go server.Serve(l)
	return "http://" + l.Addr().String() + "/metrics", func() { server.Close() }, nil
}

// printer keeps spans and prints them as a tree.
type printer struct{ spans []sdktrace.ReadOnlySpan }

func (p *printer) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	if len(p.spans) < 100 {
		p.spans = append(p.spans, spans...)
	}
	return nil
}

func (p *printer) Shutdown(context.Context) error { return nil }

func (p *printer) take() string {
	var b strings.Builder
	var children func(parent string, depth int)
	children = func(parent string, depth int) {
		for _, s := range p.spans {
			if s.Parent().SpanID().String() != parent {
				continue
			}
			fmt.Fprintf(&b, "%s%s %s", strings.Repeat("  ", depth), s.Name(), s.EndTime().Sub(s.StartTime()).Round(time.Microsecond))
			for _, a := range s.Attributes() {
				fmt.Fprintf(&b, " %s=%s", a.Key, a.Value.String())
			}
			b.WriteByte('\n')
			children(s.SpanContext().SpanID().String(), depth+1)
		}
	}
	children(strings.Repeat("0", 16), 0)
	return b.String()
}

func drawAll(dir string, h *history) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, c := range charts {
		if err := os.WriteFile(filepath.Join(dir, c.file), []byte(c.draw(h)), 0o644); err != nil {
			return err
		}
	}
	return nil
}
