package otelsecure_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/memorybackend"
	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/secure"
	"github.com/cachekit-io/cachekit-go/secure/otelsecure"
)

// collector is an SDK that keeps everything.
type collector struct {
	spans  *tracetest.InMemoryExporter
	traces *sdktrace.TracerProvider
	reader *sdkmetric.ManualReader
	meters *sdkmetric.MeterProvider
}

func newCollector() *collector {
	c := &collector{spans: tracetest.NewInMemoryExporter(), reader: sdkmetric.NewManualReader()}
	c.traces = sdktrace.NewTracerProvider(sdktrace.WithSyncer(c.spans))
	c.meters = sdkmetric.NewMeterProvider(sdkmetric.WithReader(c.reader))
	return c
}

func (c *collector) options() *otelsecure.Options {
	return &otelsecure.Options{MeterProvider: c.meters, TracerProvider: c.traces}
}

// collect returns every number by its name and attributes; of a histogram the
// count.
func (c *collector) collect(t testing.TB) map[string]int64 {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := c.reader.Collect(context.Background(), &rm); err != nil {
		t.Fatal(err)
	}
	out := map[string]int64{}
	put := func(name string, set attribute.Set, v int64) {
		enc := set.Encoded(attribute.DefaultEncoder())
		enc = strings.TrimPrefix(strings.ReplaceAll(enc, "cachekit.cache=users", ""), ",")
		out[strings.TrimRight(name+" "+enc, ", ")] = v
	}
	for _, s := range rm.ScopeMetrics {
		for _, m := range s.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					put(m.Name, p.Attributes, p.Value)
				}
			case metricdata.Gauge[int64]:
				for _, p := range d.DataPoints {
					put(m.Name, p.Attributes, p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					put(m.Name, p.Attributes, int64(p.Count))
					if p.Sum < 0 || p.Sum > 60 {
						t.Errorf("%s: the sum is %v s", m.Name, p.Sum)
					}
				}
			default:
				t.Errorf("%s: %T", m.Name, d)
			}
		}
	}
	return out
}

// tree is what the spans look like: parent > child, with the outcome.
func tree(spans tracetest.SpanStubs) (out []string) {
	names := map[trace.SpanID]string{}
	for _, s := range spans {
		names[s.SpanContext.SpanID()] = s.Name
	}
	for _, s := range spans {
		outcome := ""
		for _, a := range s.Attributes {
			if a.Key == "cachekit.outcome" || a.Key == "error.type" {
				outcome += " " + a.Value.AsString()
			}
		}
		out = append(out, fmt.Sprintf("%s > %s%s", names[s.Parent.SpanID()], s.Name, outcome))
	}
	slices.Sort(out)
	return out
}

func masterKey(t testing.TB, digit string) keys.MasterKey {
	t.Helper()
	k, err := keys.Hex(strings.Repeat(digit, 64))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// flaky is a backend that fails or forges on demand.
type flaky struct {
	backends.Backend
	err   error
	forge bool
}

func (f *flaky) Get(ctx context.Context, key string) ([]byte, error) {
	if f.err != nil {
		return nil, f.err
	}
	v, err := f.Backend.Get(ctx, key)
	if f.forge && err == nil {
		v[len(v)/2] ^= 1
	}
	return v, err
}

func build(t testing.TB, o *secure.Options) *secure.Cache {
	t.Helper()
	c, err := secure.New(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// A known script: its spans, with the caller's as the root, and its metrics.
func TestSpansAndMetricsOfAScript(t *testing.T) {
	sdk := newCollector()
	f := &flaky{Backend: memorybackend.New(nil)}
	c := build(t, &secure.Options{Backend: f, MasterKey: masterKey(t, "1"), Observer: otelsecure.Instrument("users", sdk.options()), NoL1: true})
	ctx, root := sdk.traces.Tracer("test").Start(t.Context(), "request")
	v := secure.For[string](c)
	v.Set(ctx, "k", "v")
	v.Get(ctx, "k")
	v.Get(ctx, "none")
	v.GetOrLoad(ctx, "l", func(ctx context.Context) (string, error) {
		_, s := sdk.traces.Tracer("test").Start(ctx, "query")
		s.End()
		return "v", nil
	})
	f.forge = true
	v.Get(ctx, "k")
	f.forge, f.err = false, &backends.Error{Op: "get", Backend: "fake", Kind: backends.Permanent, Err: errors.New("no")}
	v.Get(ctx, "k")
	root.End()

	want := []string{
		" > request",
		"cachekit get > get otelsecure_test error permanent", "cachekit get > get otelsecure_test hit", "cachekit get > get otelsecure_test hit", "cachekit get > get otelsecure_test miss",
		"cachekit load > cachekit loader ok", "cachekit load > get otelsecure_test miss", "cachekit load > set otelsecure_test ok",
		"cachekit loader > query", "cachekit set > set otelsecure_test ok",
		"request > cachekit get error auth", "request > cachekit get error refused", "request > cachekit get hit", "request > cachekit get miss",
		"request > cachekit load miss", "request > cachekit set ok",
	}
	got := tree(sdk.spans.GetSpans())
	if !slices.Equal(got, want) {
		t.Errorf("spans:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, s := range sdk.spans.GetSpans() {
		if s.SpanContext.TraceID() != root.SpanContext().TraceID() {
			t.Errorf("%s is in another trace", s.Name)
		}
		failed := slices.ContainsFunc(s.Attributes, func(a attribute.KeyValue) bool { return a.Key == "error.type" })
		if failed != (s.Status.Code == codes.Error) {
			t.Errorf("%s: status %v", s.Name, s.Status)
		}
		if client := strings.HasSuffix(s.Name, " otelsecure_test"); client != (s.SpanKind == trace.SpanKindClient) {
			t.Errorf("%s is of kind %v", s.Name, s.SpanKind)
		}
	}
	const db = "db.client.operation.duration db.operation.name=%s,db.system.name=cachekit.otelsecure_test"
	for name, n := range map[string]int64{
		"cachekit.sets": 2, "cachekit.loads": 1, "cachekit.backend.hits": 2, "cachekit.backend.misses": 2, "cachekit.auth.failures": 1, "cachekit.key.sealed": 2,
		"cachekit.events cachekit.event=auth_failure": 1,
		fmt.Sprintf(db, "get"):                        4, fmt.Sprintf(db, "set"): 2,
		fmt.Sprintf(db, "get") + ",error.type=permanent":                                                                        1,
		"cachekit.operation.duration cachekit.operation=get,cachekit.outcome=error,error.type=auth":                             1,
		"cachekit.operation.duration cachekit.operation=get,cachekit.outcome=hit,cachekit.source=backend":                       1,
		"cachekit.operation.duration cachekit.operation=load,cachekit.outcome=miss,cachekit.source=loader":                      1,
		"cachekit.key.opened cachekit.key.fingerprint=" + c.Stats().Keys[0].Fingerprint.String() + ",cachekit.key.role=current": 1,
		"cachekit.circuit.state cachekit.circuit.state=closed":                                                                  1,
		"cachekit.circuit.state cachekit.circuit.state=open":                                                                    0,
	} {
		all := sdk.collect(t)
		if got, ok := all[name]; !ok || got != n {
			t.Errorf("%s is %d (%t), want %d", name, got, ok, n)
		}
	}
	c.Close()
	for name := range sdk.collect(t) {
		if strings.HasPrefix(name, "cachekit.sets") {
			t.Error("a closed cache is still collected")
		}
	}
}

// A refresh belongs to the trace of the call that served the stale entry.
func TestRefreshesKeepTheTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sdk := newCollector()
		c := build(t, &secure.Options{Backend: memorybackend.New(nil), MasterKey: masterKey(t, "1"), Observer: otelsecure.Instrument("users", sdk.options()), TTL: time.Hour})
		defer c.Close()
		v := secure.For[string](c)
		v.Set(t.Context(), "k", "v")
		time.Sleep(40 * time.Minute)
		sdk.spans.Reset()
		ctx, root := sdk.traces.Tracer("test").Start(t.Context(), "request")
		v.GetOrLoad(ctx, "k", func(context.Context) (string, error) { time.Sleep(time.Second); return "new", nil })
		root.End()
		time.Sleep(time.Minute)
		got := strings.Join(tree(sdk.spans.GetSpans()), "\n")
		for _, want := range []string{"request > cachekit refresh miss", "cachekit refresh > cachekit loader ok"} {
			if !strings.Contains(got, want) {
				t.Errorf("%q is not among\n%s", want, got)
			}
		}
	})
}

// Without an SDK nobody is told, nothing is allocated; one that is installed
// later is found.
func TestWithoutAnSDK(t *testing.T) {
	o := otelsecure.Instrument("users", nil)
	ctx := t.Context()
	op := secure.Operation{Name: "get", Keys: 1}
	o.Begin(ctx, "get", "", 1)
	if n := testing.AllocsPerRun(100, func() {
		if got, listening := o.Begin(ctx, "get", "", 1); listening || got != ctx {
			t.Fatal("somebody listens")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	sdk := newCollector()
	otel.SetTracerProvider(sdk.traces)
	otel.SetMeterProvider(sdk.meters)
	got, listening := o.Begin(ctx, "get", "", 1)
	if !listening {
		t.Fatal("the SDK was not found")
	}
	o.End(got, op)
	if n := len(sdk.spans.GetSpans()); n != 1 {
		t.Errorf("%d spans", n)
	}
	if n := sdk.collect(t)["cachekit.operation.duration cachekit.operation=get,cachekit.outcome="]; n != 1 {
		t.Errorf("measured %d", n)
	}
}

// Labels of entries can be left out; metrics never have them.
func TestEntries(t *testing.T) {
	for _, without := range []bool{false, true} {
		sdk := newCollector()
		o := sdk.options()
		o.NoEntries = without
		c := build(t, &secure.Options{Backend: memorybackend.New(nil), MasterKey: masterKey(t, "1"), Observer: otelsecure.Instrument("users", o)})
		if err := c.Set(t.Context(), "k", "v"); err != nil {
			t.Fatal(err)
		}
		for _, s := range sdk.spans.GetSpans() {
			if has := slices.ContainsFunc(s.Attributes, func(a attribute.KeyValue) bool { return a.Key == "cachekit.entry" }); has == without {
				t.Errorf("NoEntries %t: %s has a label: %t", without, s.Name, has)
			}
		}
		for name := range sdk.collect(t) {
			if strings.Contains(name, "entry=") {
				t.Errorf("a metric names an entry: %s", name)
			}
		}
	}
}
