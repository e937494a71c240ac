package secure

import (
	"context"
	"errors"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/resilient"
)

// Observer is told what a cache does, its namespaces, views and operations
// included: Options.Observer. Package otelsecure makes one for OpenTelemetry. A
// function that is nil is not called and costs nothing.
//
// The functions are called in the goroutine of the operation, which waits for
// them, by many goroutines at once and under no lock. They must not panic, and
// must not call the cache. Nothing that they are told holds a key, a value or a
// secret.
type Observer struct {
	// Attach is called once, when the cache has been built, with its Stats; what
	// it returns, if not nil, is called by Close.
	Attach func(stats func() Stats) (detach func())
	// Begin is told that an operation begins: its Operation.Name, Backend and Keys. It
	// returns the context that the operation goes on with, and whether End is to
	// be told of its end; if not, nothing is measured. Operations nest by their
	// contexts: a "load" holds the calls of the backend and the "loader". A
	// "refresh" has the values of the context of the call that started it, which
	// it outlives. Reads that the in-process layer answers alone have no Begin.
	Begin func(ctx context.Context, name, backend string, keys int) (context.Context, bool)
	// End is told of the end of an operation, with the context that Begin
	// returned. Without Begin, it is told of every operation.
	End func(ctx context.Context, op Operation)
	// Local is told of each read of one key that the in-process layer answered,
	// with the caller's context and without a duration.
	Local func(ctx context.Context, op Operation)
	// Event is told of what an operator must know, each time: the log is sampled.
	Event func(e Event)
}

// Operation is one step of a cache's work.
type Operation struct {
	// Name is "get", "set", "delete", "exists", "load" or one of these with
	// " many"; "loader" (the caller's function) or "refresh" (a background load).
	// Of a Backend it is "get", "set", "delete", "exists", "lock" or one of these with
	// " many".
	Name string
	// Backend is the kind of storage ("redis", "file", ...) if the operation is a
	// call of the backend, with its retries; else "".
	Backend string
	// Keys is how many entries it is about.
	Keys int

	// Outcome is "hit" (all entries were there), "miss" (some were not: of a
	// load, the loader ran), "absent" (a loader's ErrAbsent), "ok", or "error".
	// It and what follows is for End.
	Outcome string
	// Source is where the value of a read came from: "l1", "backend", "loader" or
	// "".
	Source string
	// Shared says that a load was somebody else's, whom this caller waited for.
	Shared bool
	// Error is the class of the error, "" if there is none: "auth" (the entry
	// failed authentication), "malformed", "type", "too_large", "unavailable",
	// "refused", "closed", "key", "ttl", "canceled", "deadline", "panic", "loader"
	// (any other error of a loader). Of a call of the backend it is the
	// backends.Kind ("timeout", "circuit_open", ...) where there is one. Of a batch
	// it is that of one of its keys.
	Error string
	// Found is how many entries were there, Failed how many keys have an error.
	Found, Failed int
	// Duration is how long it took.
	Duration time.Duration

	of *observation
}

// Entry is the label of the entry, as in errors and logs: a keyed hash, or "" if
// the operation is about several. Computing it takes about a microsecond.
func (o Operation) Entry() string {
	if o.of == nil || o.of.name == "" {
		return ""
	}
	return o.of.core.label(o.of.name)
}

// Event is something that an operator must know. Kind says what it is and which
// of the other fields are set:
//
//	auth_failure        an entry failed authentication: Op, Entry
//	load_without_cache  a load survived a failure of the backend: Op, Entry, Error
//	refresh_failure     a background load failed: Op, Entry, Error
//	circuit             the state of the circuit changed: Circuit, the new one
//	keyring_reload      a changed keyring was taken over
//	keyring_failure     the keyring could not be read again
//	seal_budget         2^32 entries were sealed under one key
//	coherence_up        changes by others are reported (Options.Coherence)
//	coherence_down      they are not: nothing is copied to the in-process layer
//	coherence_flush     any entry may have changed: the layer was emptied
type Event struct {
	Kind string
	// Op is what was being done, Entry the label of the entry.
	Op, Entry string
	// Error is the class of the error, as in Operation.
	Error   string
	Circuit resilient.State
}

// observation is an operation under way that somebody listens to. Its methods
// do nothing on nil.
type observation struct {
	core  *core
	name  string
	ctx   context.Context
	op    Operation
	start time.Time
}

// begin reports that an operation on name, or on several entries, begins.
func (c *core) begin(ctx context.Context, op, name string, keys int) (context.Context, *observation) {
	if c.observer == nil {
		return ctx, nil
	}
	return c.listen(ctx, op, "", name, keys)
}

func (c *core) listen(ctx context.Context, op, backend, name string, keys int) (context.Context, *observation) {
	if begin := c.observer.Begin; begin != nil {
		within, listening := begin(ctx, op, backend, keys)
		if !listening {
			return within, nil
		}
		ctx = within
	}
	return ctx, c.observe(ctx, op, backend, name, keys)
}

// observe is apart from listen, which has a small frame without it.
func (c *core) observe(ctx context.Context, op, backend, name string, keys int) *observation {
	if c.observer.End == nil {
		return nil
	}
	return &observation{c, name, ctx, Operation{Name: op, Backend: backend, Keys: keys}, time.Now()}
}

// read ends a read of one entry.
func (o *observation) read(found bool, err error) {
	if o == nil {
		return
	}
	outcome := "miss"
	if found {
		o.op.Found, outcome, o.op.Source = 1, "hit", "backend"
	}
	o.end(outcome, err)
}

// loaded ends a load of one entry.
func (o *observation) loaded(out loaded, shared bool, err error) {
	if o == nil {
		return
	}
	o.op.Shared = shared
	if err == nil && out.ran {
		o.op.Source = "loader"
	}
	o.read(err == nil && !out.ran, err)
}

// many ends a batch: found of its keys were there, those in failed have an
// error.
func (o *observation) many(found int, failed map[string]error) {
	if o == nil {
		return
	}
	o.op.Found, o.op.Failed = found, len(failed)
	outcome := "miss"
	if found == o.op.Keys {
		outcome = "hit"
	}
	o.end(outcome, one(failed))
}

func one(failed map[string]error) error {
	for _, err := range failed {
		return err
	}
	return nil
}

// done ends an operation that neither hits nor misses.
func (o *observation) done(err error) {
	if o != nil {
		o.end("ok", err)
	}
}

func (o *observation) end(outcome string, err error) {
	op := o.op
	op.Duration, op.of, op.Outcome = time.Since(o.start), o, outcome
	switch {
	case errors.Is(err, ErrAbsent):
		op.Outcome = "absent"
	case err != nil:
		op.Outcome, op.Error = "error", errorClass(err, op.Backend != "")
		op.Failed = max(op.Failed, 1)
	}
	o.core.observer.End(o.ctx, op)
}

// observed calls a loader and counts it.
func observed[T any](ctx context.Context, c *core, name string, keys int, load func(context.Context) (T, error)) (v T, err error) {
	c.counts.loads.Add(1)
	ctx, o := c.begin(ctx, "loader", name, keys)
	err = errUnfinished // should load panic or end its goroutine
	defer func() {
		if err != nil {
			c.counts.loadFailures.Add(1)
		}
		o.done(err)
	}()
	return load(ctx)
}

// local reports a read that the in-process layer answered.
func (c *core) local(ctx context.Context, op, name string, h hit, err error) {
	if c.observer != nil && c.observer.Local != nil {
		c.tellLocal(ctx, op, name, h, err)
	}
}

func (c *core) tellLocal(ctx context.Context, op, name string, h hit, err error) {
	o := Operation{Name: op, Keys: 1, Source: "l1", Outcome: "hit", Found: 1, of: &observation{core: c, name: name}}
	switch {
	case err != nil:
		o.Outcome, o.Error, o.Found, o.Failed = "error", errorClass(err, false), 0, 1
	case h == hitAbsent:
		o.Outcome, o.Found = "absent", 0
	}
	c.observer.Local(ctx, o)
}

// backendCall is the store's hook.
func (c *core) backendCall(ctx context.Context, op, name string, keys int) (context.Context, func(found int, err error)) {
	ctx, o := c.listen(ctx, op, c.backend, name, keys)
	if o == nil {
		return ctx, nil
	}
	return ctx, func(found int, err error) {
		o.op.Found = found
		switch {
		case op != "get" && op != "get many" && op != "exists":
			o.end("ok", err)
		case found == keys:
			o.end("hit", err)
		default:
			o.end("miss", err)
		}
	}
}

// errorClass names the class of err; kinds asks for the kind of the failure of
// a backend.
func errorClass(err error, kinds bool) string {
	if kinds {
		if e, ok := errors.AsType[*backends.Error](err); ok {
			return or(kindNames[e.Kind], "invalid")
		}
	}
	err = classify(err)
	for _, c := range errorClasses {
		if errors.Is(err, c.err) {
			return c.name
		}
	}
	if _, ok := errors.AsType[*PanicError](err); ok {
		return "panic"
	}
	return "loader"
}

var errorClasses = []struct {
	err  error
	name string
}{
	{ErrAuth, "auth"}, {ErrMalformed, "malformed"}, {ErrType, "type"}, {ErrTooLarge, "too_large"},
	{ErrUnavailable, "unavailable"}, {ErrBackend, "refused"}, {ErrClosed, "closed"}, {ErrKey, "key"}, {ErrTTL, "ttl"},
	{backends.ErrLocked, "locked"}, {context.Canceled, "canceled"}, {context.DeadlineExceeded, "deadline"}, {errUnfinished, "panic"},
}

// kindNames are the kinds as one word each.
var kindNames = map[backends.Kind]string{
	backends.Transient: "transient", backends.Timeout: "timeout", backends.Permanent: "permanent", backends.Auth: "credentials",
	backends.TooLarge: "too_large", backends.Overload: "overload", backends.CircuitOpen: "circuit_open",
}

// errUnfinished is the error of a step that has not returned.
var errUnfinished = errors.New("secure: the step ended its goroutine without returning")
