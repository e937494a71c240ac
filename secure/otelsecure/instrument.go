package otelsecure

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/cachekit-io/cachekit-go/secure"
)

// scope is the name of the instrumentation scope.
const scope = "github.com/cachekit-io/cachekit-go/secure/otelsecure"

// Options adjusts the instrumentation; nil or zero is the default.
type Options struct {
	// MeterProvider and TracerProvider default to the global ones, which may be
	// set later.
	MeterProvider  metric.MeterProvider
	TracerProvider trace.TracerProvider
	// NoEntries leaves the labels of entries (keyed hashes, never keys) out of
	// the spans.
	NoEntries bool
}

// Instrument returns an observer that reports to OpenTelemetry: give it to one
// cache, as secure.Options.Observer. name tells the caches of a program apart, as
// the attribute "cachekit.cache"; it must not be secret. What cannot be
// registered goes to OpenTelemetry's error handler.
func Instrument(name string, opts *Options) *secure.Observer {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.MeterProvider == nil {
		o.MeterProvider = otel.GetMeterProvider()
	}
	provider := o.TracerProvider
	if provider == nil {
		provider = otel.GetTracerProvider()
	}
	i := &instruments{
		cache: attribute.String("cachekit.cache", name), entries: !o.NoEntries,
		tracer: tracer{Tracer: provider.Tracer(scope)}, meter: o.MeterProvider.Meter(scope),
	}
	i.build()
	return &secure.Observer{Attach: i.attach, Begin: i.begin, End: i.end, Event: i.event}
}

// instruments are what one cache reports to.
type instruments struct {
	cache   attribute.KeyValue
	entries bool
	tracer  tracer
	meter   metric.Meter

	operation, backend metric.Float64Histogram
	events             metric.Int64Counter
}

// seconds are the bounds that the semantic conventions give to
// db.client.operation.duration, with finer ones for a storage that is near.
var seconds = []float64{0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 10}

func (i *instruments) build() {
	var err error
	i.operation, err = i.meter.Float64Histogram("cachekit.operation.duration", metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(seconds...),
		metric.WithDescription("Duration of operations that the in-process layer did not answer."))
	handle(err)
	i.backend, err = i.meter.Float64Histogram("db.client.operation.duration", metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(seconds...),
		metric.WithDescription("Duration of calls of the backend, with their retries."))
	handle(err)
	i.events, err = i.meter.Int64Counter("cachekit.events", metric.WithUnit("{event}"),
		metric.WithDescription("Events that an operator must know, by kind."))
	handle(err)
}

func handle(err error) {
	if err != nil {
		otel.Handle(err)
	}
}

// begin starts a span if there is somebody to record it, and says whether
// anybody wants to know the end.
func (i *instruments) begin(ctx context.Context, name, backend string, keys int) (context.Context, bool) {
	timed := i.operation
	if backend != "" {
		timed = i.backend
	}
	if !i.tracer.off() {
		ctx = i.tracer.start(ctx, secure.Operation{Name: name, Backend: backend, Keys: keys}, i.cache)
		return ctx, true
	}
	return ctx, timed.Enabled(ctx)
}

func (i *instruments) end(ctx context.Context, op secure.Operation) {
	i.measure(ctx, op)
	if span, ok := ctx.Value(spanKey{}).(trace.Span); ok {
		if span.IsRecording() {
			span.SetAttributes(i.results(op)...)
			fail(span, op)
		}
		span.End()
	}
}

func (i *instruments) measure(ctx context.Context, op secure.Operation) {
	seconds := op.Duration.Seconds()
	if op.Backend != "" {
		if i.backend.Enabled(ctx) {
			attrs := append(databaseAttributes(op), i.cache)
			if op.Error != "" {
				attrs = append(attrs, attribute.String("error.type", op.Error))
			}
			i.backend.Record(ctx, seconds, metric.WithAttributeSet(attribute.NewSet(attrs...)))
		}
		return
	}
	if i.operation.Enabled(ctx) {
		attrs := []attribute.KeyValue{i.cache, attribute.String("cachekit.operation", op.Name), attribute.String("cachekit.outcome", op.Outcome)}
		if op.Source != "" {
			attrs = append(attrs, attribute.String("cachekit.source", op.Source))
		}
		if op.Error != "" {
			attrs = append(attrs, attribute.String("error.type", op.Error))
		}
		i.operation.Record(ctx, seconds, metric.WithAttributeSet(attribute.NewSet(attrs...)))
	}
}

func (i *instruments) event(e secure.Event) {
	ctx := context.Background()
	if !i.events.Enabled(ctx) {
		return
	}
	attrs := []attribute.KeyValue{i.cache, attribute.String("cachekit.event", e.Kind)}
	if e.Kind == "circuit" {
		attrs = append(attrs, attribute.String("cachekit.circuit.state", e.Circuit.String()))
	}
	i.events.Add(ctx, 1, metric.WithAttributeSet(attribute.NewSet(attrs...)))
}

// systems are the names that the semantic conventions have for storages
// (db.system.name, semantic conventions 1.43).
var systems = map[string]string{"redis": "redis", "memcached": "memcached", "dynamodb": "aws.dynamodb"}

// databaseAttributes are those of a call of the backend.
func databaseAttributes(op secure.Operation) []attribute.KeyValue {
	system, known := systems[op.Backend]
	if !known {
		system = "cachekit." + op.Backend
	}
	attrs := make([]attribute.KeyValue, 0, 6)
	attrs = append(attrs, attribute.String("db.system.name", system), attribute.String("db.operation.name", op.Name))
	return attrs
}
