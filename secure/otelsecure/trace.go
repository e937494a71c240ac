package otelsecure

import (
	"context"
	"reflect"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/cachekit-io/cachekit-go/secure"
)

// tracer starts spans, and finds out whether there is anybody behind it: the
// API cannot say, and a span of nobody costs two allocations.
type tracer struct {
	trace.Tracer
	live atomic.Bool
	// idle is the type of the global provider while nobody recorded; another one
	// is tried again.
	idle atomic.Value
}

// off reports whether spans are known to go nowhere.
func (t *tracer) off() bool {
	return !t.live.Load() && t.idle.Load() == reflect.TypeOf(otel.GetTracerProvider())
}

// spanKey holds the span of an operation in its context. The current span of
// the context may also be the caller's, which is not ours to end.
type spanKey struct{}

func (t *tracer) start(ctx context.Context, op secure.Operation, cache attribute.KeyValue) context.Context {
	parent := trace.SpanContextFromContext(ctx)
	kind, attrs := trace.SpanKindInternal, []attribute.KeyValue{cache, attribute.String("cachekit.operation", op.Name)}
	name := "cachekit " + op.Name
	if op.Backend != "" {
		kind, attrs = trace.SpanKindClient, append(databaseAttributes(op), cache)
		name = op.Name + " " + op.Backend
	}
	if op.Keys != 1 {
		attrs = append(attrs, batchSize(op))
	}
	ctx, span := t.Start(ctx, name, trace.WithSpanKind(kind), trace.WithAttributes(attrs...))
	if !t.live.Load() {
		// An SDK gives every span an id, whether it samples it or not.
		if id := span.SpanContext().SpanID(); id.IsValid() && id != parent.SpanID() {
			t.live.Store(true)
		} else {
			t.idle.Store(reflect.TypeOf(otel.GetTracerProvider()))
		}
	}
	return context.WithValue(ctx, spanKey{}, span)
}

func batchSize(op secure.Operation) attribute.KeyValue {
	if op.Backend != "" {
		return attribute.Int("db.operation.batch.size", op.Keys)
	}
	return attribute.Int("cachekit.keys", op.Keys)
}

// results are the attributes that the end of an operation adds to its span.
func (i *instruments) results(op secure.Operation) []attribute.KeyValue {
	attrs := []attribute.KeyValue{attribute.String("cachekit.outcome", op.Outcome)}
	if op.Source != "" {
		attrs = append(attrs, attribute.String("cachekit.source", op.Source))
	}
	if op.Shared {
		attrs = append(attrs, attribute.Bool("cachekit.shared", true))
	}
	if op.Keys != 1 {
		attrs = append(attrs, attribute.Int("cachekit.found", op.Found), attribute.Int("cachekit.failed", op.Failed))
	}
	if i.entries {
		if entry := op.Entry(); entry != "" {
			attrs = append(attrs, attribute.String("cachekit.entry", entry))
		}
	}
	return attrs
}

// fail marks the span of an operation that failed. That a caller left is not
// the cache's failure, nor is a lock that another process holds.
func fail(span trace.Span, op secure.Operation) {
	if op.Error == "" {
		return
	}
	span.SetAttributes(attribute.String("error.type", op.Error))
	if op.Error != "canceled" && op.Error != "locked" {
		span.SetStatus(codes.Error, op.Error)
	}
}
