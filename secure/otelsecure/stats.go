package otelsecure

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/cachekit-io/cachekit-go/backends/resilient"
	"github.com/cachekit-io/cachekit-go/secure"
)

// number is an observable instrument that shows one number of Stats.
type number struct {
	name, unit, description string
	counter                 bool // or a gauge
	value                   func(s *secure.Stats) uint64
}

var numbers = []number{
	{"cachekit.l1.hits", "{read}", "Reads that the in-process layer answered.", true, func(s *secure.Stats) uint64 { return s.L1.Hits }},
	{"cachekit.l1.misses", "{read}", "Reads that the in-process layer did not answer.", true, func(s *secure.Stats) uint64 { return s.L1.Misses }},
	{"cachekit.l1.evictions", "{entry}", "Copies that the bound of the in-process layer removed.", true, func(s *secure.Stats) uint64 { return s.L1.Evictions }},
	{"cachekit.l1.entries", "{entry}", "Copies in the in-process layer.", false, func(s *secure.Stats) uint64 { return uint64(s.L1.Entries) }},
	{"cachekit.l1.size", "By", "Bytes in the in-process layer.", false, func(s *secure.Stats) uint64 { return uint64(s.L1.Bytes) }},
	{"cachekit.l1.limit", "By", "The bound of the in-process layer.", false, func(s *secure.Stats) uint64 { return uint64(s.L1.MaxBytes) }},
	{"cachekit.backend.hits", "{read}", "Reads of the backend that found an entry.", true, func(s *secure.Stats) uint64 { return s.BackendHits }},
	{"cachekit.backend.misses", "{read}", "Reads of the backend that found none.", true, func(s *secure.Stats) uint64 { return s.Misses }},
	{"cachekit.sets", "{write}", "Writes, failed ones too.", true, func(s *secure.Stats) uint64 { return s.Sets }},
	{"cachekit.deletes", "{write}", "Deletes, failed ones too.", true, func(s *secure.Stats) uint64 { return s.Deletes }},
	{"cachekit.loads", "{load}", "Loaders that were started.", true, func(s *secure.Stats) uint64 { return s.Loads }},
	{"cachekit.load.failures", "{load}", "Loaders that failed.", true, func(s *secure.Stats) uint64 { return s.LoadFailures }},
	{"cachekit.refresh.failures", "{load}", "Background refreshes that failed.", true, func(s *secure.Stats) uint64 { return s.RefreshFailures }},
	{"cachekit.absorbed", "{failure}", "Failures of the backend that a load went on without.", true, func(s *secure.Stats) uint64 { return s.Absorbed }},
	{"cachekit.auth.failures", "{entry}", "Entries that failed authentication.", true, func(s *secure.Stats) uint64 { return s.AuthFailures }},
	{"cachekit.key.sealed", "{entry}", "Entries sealed by this cache under the current key.", false, func(s *secure.Stats) uint64 { return s.Seals }},
	{"cachekit.keyring.reloads", "{reload}", "Changed keyrings that were taken over.", true, func(s *secure.Stats) uint64 { return s.KeyringReloads }},
	{"cachekit.keyring.failures", "{reload}", "Times that the keyring could not be read again.", true, func(s *secure.Stats) uint64 { return s.KeyringFailures }},
	{"cachekit.coherence.invalidations", "{key}", "Keys that were reported as changed.", true, func(s *secure.Stats) uint64 { return s.Coherence.Invalidations }},
	{"cachekit.coherence.flushes", "{flush}", "Times that the in-process layer was emptied because changes may have been missed.", true, func(s *secure.Stats) uint64 { return s.Coherence.Flushes }},
	{"cachekit.coherence.outages", "{outage}", "Times that reports of changes ceased.", true, func(s *secure.Stats) uint64 { return s.Coherence.Outages }},
	{"cachekit.circuit.trips", "{trip}", "Times that the circuit opened.", true, func(s *secure.Stats) uint64 { return s.Reliability.Trips }},
	{"cachekit.retries", "{attempt}", "Attempts beside the first of each call of the backend.", true, func(s *secure.Stats) uint64 { return s.Reliability.Retries }},
	{"cachekit.backend.refused", "{call}", "Calls that an open circuit turned away.", true, func(s *secure.Stats) uint64 { return s.Reliability.Refused }},
	{"cachekit.backend.rejected", "{call}", "Calls that found no place in time.", true, func(s *secure.Stats) uint64 { return s.Reliability.Rejected }},
	{"cachekit.backend.running", "{call}", "Calls of the backend under way.", false, func(s *secure.Stats) uint64 { return uint64(s.Reliability.Running) }},
	{"cachekit.backend.waiting", "{call}", "Calls that wait for a place.", false, func(s *secure.Stats) uint64 { return uint64(s.Reliability.Waiting) }},
}

// attach has the cache's Stats collected until detach is called.
func (i *instruments) attach(stats func() secure.Stats) (detach func()) {
	observables := make([]metric.Int64Observable, len(numbers))
	all := make([]metric.Observable, 0, len(numbers)+3)
	for n, d := range numbers {
		observables[n] = i.observable(d)
		all = append(all, observables[n])
	}
	opened := i.observable(number{"cachekit.key.opened", "{read}", "Entries that opened under each key of the keyring.", true, nil})
	circuit := i.observable(number{"cachekit.circuit.state", "{state}", "1 for the state that the circuit is in, 0 for the others.", false, nil})
	coherent := i.observable(number{"cachekit.coherence.up", "{state}", "1 if changes by other processes are reported, 0 if not.", false, nil})
	own := metric.WithAttributeSet(attribute.NewSet(i.cache))
	registration, err := i.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := stats()
		for n, d := range numbers {
			o.ObserveInt64(observables[n], int64(d.value(&s)), own)
		}
		i.observeKeys(o, opened, s.Keys)
		i.observeCircuit(o, circuit, s.Reliability.State)
		if c := s.Coherence; c.Up || c.Down > 0 { // the option is on
			o.ObserveInt64(coherent, number01(c.Up), own)
		}
		return nil
	}, append(all, opened, circuit, coherent)...)
	handle(err)
	return func() {
		if registration != nil {
			handle(registration.Unregister())
		}
	}
}

func number01(is bool) int64 {
	if is {
		return 1
	}
	return 0
}

func (i *instruments) observable(d number) (o metric.Int64Observable) {
	var err error
	if d.counter {
		o, err = i.meter.Int64ObservableCounter(d.name, metric.WithUnit(d.unit), metric.WithDescription(d.description))
	} else {
		o, err = i.meter.Int64ObservableGauge(d.name, metric.WithUnit(d.unit), metric.WithDescription(d.description))
	}
	handle(err)
	return o
}

// observeKeys shows the use of each key, by its fingerprint and its role.
func (i *instruments) observeKeys(o metric.Observer, opened metric.Int64Observable, keys []secure.KeyStats) {
	for n, k := range keys {
		role := "current"
		if n > 0 {
			role = "previous"
		}
		o.ObserveInt64(opened, int64(k.Opened), metric.WithAttributes(i.cache,
			attribute.String("cachekit.key.fingerprint", k.Fingerprint.String()), attribute.String("cachekit.key.role", role)))
	}
}

func (i *instruments) observeCircuit(o metric.Observer, circuit metric.Int64Observable, now resilient.State) {
	if now == 0 {
		return
	}
	for _, state := range []resilient.State{resilient.Closed, resilient.HalfOpen, resilient.Open} {
		o.ObserveInt64(circuit, number01(state == now), metric.WithAttributes(i.cache, attribute.String("cachekit.circuit.state", state.String())))
	}
}
