package secure

import (
	"context"
	"log/slog"
	"reflect"
	"strings"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/cachekitio"
	"github.com/cachekit-io/cachekit-go/backends/resilient"
)

// checkReliability refuses options that contradict each other.
func (p profile) checkReliability(o *Options) error {
	_, wrapped := o.Backend.(*resilient.Backend)
	switch {
	case o.Reliability > Off:
		return misconfigured("Options.Reliability is neither On nor Off")
	case o.Reliability == Off && o.ReliabilityOptions != nil:
		return misconfigured("Options.ReliabilityOptions does nothing with Options.Reliability Off")
	case o.L1Only && (o.Reliability == On || o.ReliabilityOptions != nil):
		return misconfigured("Options.Reliability and ReliabilityOptions do nothing with Options.L1Only")
	case wrapped && o.ReliabilityOptions != nil:
		return misconfigured("Options.Backend is a resilient.Backend with options of its own: leave Options.ReliabilityOptions out")
	}
	if err := o.ReliabilityOptions.Validate(); err != nil {
		return misconfigured("Options.ReliabilityOptions: %w", err)
	}
	return nil
}

// wrap puts the reliability stack around b, if the options want it and b does
// not bring it along.
func (c *core) wrap(b backends.Backend, o *resilient.Options) (backends.Backend, error) {
	if r, ok := b.(*resilient.Backend); ok {
		c.resilient = r
		return b, nil
	}
	if !c.reliable {
		return b, nil
	}
	var opts resilient.Options
	if o != nil {
		opts = *o
	}
	if io, ok := b.(*cachekitio.Backend); ok && opts.Attempts == 0 {
		opts.Attempts = io.MaxRetries() + 1
	}
	theirs := opts.OnStateChange
	opts.OnStateChange = func(from, to resilient.State) {
		c.logCircuit(to)
		if theirs != nil {
			theirs(from, to)
		}
	}
	r, err := resilient.New(b, &opts)
	if err != nil {
		return nil, misconfigured("Options.ReliabilityOptions: %w", err)
	}
	c.resilient = r
	return r, nil
}

// locks says whether loads take locks.
func (c *core) locks(s Switch) (bool, error) {
	if s == On && !c.store.CanLock() {
		return false, misconfigured("Options.FillLock is On, but the backend has no locks")
	}
	return s != Off && c.store.CanLock(), nil
}

func (c *core) logCircuit(to resilient.State) {
	e := Event{Kind: "circuit", Circuit: to}
	switch to {
	case resilient.Open:
		c.note(context.Background(), slog.LevelWarn, e, "", "circuit opened, the backend is left alone for a while")
	case resilient.HalfOpen:
		c.note(context.Background(), slog.LevelInfo, e, "", "circuit half-open, a few calls probe the backend")
	case resilient.Closed:
		c.note(context.Background(), slog.LevelInfo, e, "", "circuit closed, the backend answers again")
	}
}

// kindOf names the kind of storage that b is: the package of its type, without
// "backend". Of a wrapper that shows no inner backend it is the wrapper's.
func kindOf(b backends.Backend) string {
	t := reflect.TypeOf(b)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	pkg := t.PkgPath()
	return strings.TrimSuffix(pkg[strings.LastIndexByte(pkg, '/')+1:], "backend")
}
