// Package otelsecure reports what a cache of package secure does to
// OpenTelemetry.
//
//	cache, err := secure.New(ctx, &secure.Options{
//		Observer: otelsecure.Instrument("users", nil),
//	})
//
// It imports the API of OpenTelemetry alone: where the program installs no SDK,
// nothing is measured and an operation that calls the backend costs some 80 ns
// more. Reads that the in-process layer answers cost nothing more with one
// either: they are counted, from Stats, and have no spans.
//
// # Spans
//
// "cachekit get", "set", "delete", "exists", "load" and these with " many" are
// what the program asked for, under the span of the caller's context; "get
// redis" and so on, of kind client, the calls of the backend within, each with
// its retries; "cachekit loader" the caller's own function. "cachekit refresh"
// is a background load, in the trace of the call that served the stale entry,
// which it outlives.
//
// No span, event or metric holds a key, a value, an error's text or a secret.
// Spans name an entry by its label, the keyed hash that errors and logs show;
// metrics name none. docs/observability.md lists every metric and attribute.
package otelsecure
