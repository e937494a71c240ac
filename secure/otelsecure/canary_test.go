package otelsecure_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/cachekitio"
	"github.com/cachekit-io/cachekit-go/backends/cachekitio/iotest"
	"github.com/cachekit-io/cachekit-go/backends/memorybackend"
	"github.com/cachekit-io/cachekit-go/backends/resilient"
	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/secure"
	"github.com/cachekit-io/cachekit-go/secure/otelsecure"
)

// Canaries: none may show up where an operator looks.
const (
	keyCanary   = "keycanary"
	valueCanary = "valuecanary"
	errCanary   = "errorcanary"
	panicCanary = "paniccanary"
	hexKey      = "5ec4e75ec4e75ec4e75ec4e75ec4e75ec4e75ec4e75ec4e75ec4e75ec4e75ec4"
	hexNames    = "a11ce0a11ce0a11ce0a11ce0a11ce0a11ce0a11ce0a11ce0a11ce0a11ce0a11c"
)

// sink collects everything that is told to operators, and what reaches storage.
type sink struct {
	mu     sync.Mutex
	text   bytes.Buffer
	stored bytes.Buffer // values
	names  bytes.Buffer // storage keys
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

// show prints v in every way that tools print things.
func (s *sink) show(what string, v any) {
	fmt.Fprintf(s, "%s: %v %+v %#v ", what, v, v, v)
	_ = json.NewEncoder(s).Encode(v)
}

// watch prints what a is told.
func (s *sink) watch(a *secure.Observer) *secure.Observer {
	return &secure.Observer{
		Attach: a.Attach,
		Begin: func(ctx context.Context, name, backend string, keys int) (context.Context, bool) {
			ctx, listening := a.Begin(ctx, name, backend, keys)
			s.show("begin", []any{name, backend, keys})
			return ctx, listening
		},
		End:   func(ctx context.Context, op secure.Operation) { s.show("end "+op.Entry(), op); a.End(ctx, op) },
		Local: func(_ context.Context, op secure.Operation) { s.show("local "+op.Entry(), op) },
		Event: func(e secure.Event) { s.show("event", e); a.Event(e) },
	}
}

// spy is a backend that writes down every byte that it is given, and fails or
// tampers on demand.
type spy struct {
	*memorybackend.Backend
	sink   *sink
	tamper bool
}

func (s *spy) record(key string, value []byte) {
	s.sink.mu.Lock()
	defer s.sink.mu.Unlock()
	s.sink.names.WriteString(key + "\n")
	s.sink.stored.Write(value)
}

func (s *spy) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	s.record(key, value)
	return s.Backend.Set(ctx, key, value, ttl)
}

func (s *spy) SetMany(ctx context.Context, items []backends.Item) []error {
	for _, it := range items {
		s.record(it.Key, it.Value)
	}
	return s.Backend.SetMany(ctx, items)
}

func (s *spy) Swap(ctx context.Context, key string, old, new []byte) (bool, error) {
	s.record(key, new)
	return s.Backend.Swap(ctx, key, old, new)
}

func (s *spy) GetEntry(ctx context.Context, key string) (backends.Entry, error) {
	e, err := s.Backend.GetEntry(ctx, key)
	if s.tamper && len(e.Value) > 0 {
		e.Value[0] ^= 1
	}
	return e, err
}

func (s *spy) Get(ctx context.Context, key string) ([]byte, error) {
	e, err := s.GetEntry(ctx, key)
	return e.Value, err
}

// trouble is a storage that can be made to fail.
type trouble interface {
	fail()
	tamperWith(on bool)
	resume()
}

func (s *spy) fail()              { s.Fail(backends.Transient) }
func (s *spy) resume()            { s.Resume() }
func (s *spy) tamperWith(on bool) { s.tamper = on }

// script does everything that a program can do with a cache, and prints the
// errors of the cache's own; those of loaders are the program's.
func script(t *testing.T, c *secure.Cache, s *sink, b trouble) {
	ctx, v := t.Context(), secure.For[string](c)
	key := func(n int) string { return fmt.Sprint(keyCanary, n) }
	note := func(err error) {
		if err != nil && !strings.Contains(err.Error(), errCanary) {
			fmt.Fprintf(s, "error: %v %+v %#v %q\n", err, err, err, err.Error())
		}
	}
	load := func(context.Context) (string, error) { return valueCanary, nil }
	all := func() {
		note(c.Set(ctx, key(1), valueCanary))
		_, _, err := v.Get(ctx, key(1))
		note(err)
		_, err = v.GetOrLoad(ctx, key(2), load)
		note(err)
		_, err = v.GetOrLoad(ctx, key(3), func(context.Context) (string, error) { return "", errors.New(errCanary) })
		note(err)
		_, err = v.GetOrLoad(ctx, key(4), func(context.Context) (string, error) { panic(panicCanary) })
		var p *secure.PanicError
		if !errors.As(err, &p) {
			note(err)
		} else {
			fmt.Fprintf(s, "panic: %v %#v\n", err, err)
		}
		note(v.SetMany(ctx, map[string]string{key(5): valueCanary, key(6): valueCanary}))
		_, err = v.GetMany(ctx, []string{key(5), key(7)})
		note(err)
		_, err = v.GetOrLoadMany(ctx, []string{key(6), key(8)}, func(_ context.Context, missing []string) (map[string]string, error) {
			return map[string]string{key(8): valueCanary}, nil
		})
		note(err)
		_, err = c.Exists(ctx, key(1))
		note(err)
		var n int
		_, err = c.Get(ctx, key(1), &n) // of another type
		note(err)
		note(c.SetTTL(ctx, key(1), valueCanary, -1))
		note(c.Set(ctx, key(1)+"\n", valueCanary))
		note(c.Set(ctx, key(1), func() {}))
		_, err = c.DeleteMany(ctx, []string{key(5), key(6)})
		note(err)
		if op, err := c.Op("users", "get"); err == nil {
			_, err = secure.Func(op, func(context.Context, string) (string, error) { return valueCanary, nil })(ctx, key(9))
			note(err)
		}
		_, err = c.Delete(ctx, key(2))
		note(err)
	}
	all()
	b.fail()
	all()
	b.resume()
	all()
	b.tamperWith(true)
	all()
	b.tamperWith(false)
	s.show("stats", c.Stats())
}

// No key, value, error's text or secret is in any event, span, metric, log line
// or error, and no value in what any backend is given, for every profile and
// option.
func TestCanaries(t *testing.T) {
	names, err := keys.ParseNameSecret(hexNames)
	if err != nil {
		t.Fatal(err)
	}
	options := map[string]func(*secure.Options){
		"default": func(*secure.Options) {}, "no L1": func(o *secure.Options) { o.NoL1 = true }, "v2": func(o *secure.Options) { o.InteropV2 = true },
		"namespace": func(o *secure.Options) { o.Namespace, o.Tenant = "ns1", "acme" }, "hidden": func(o *secure.Options) { o.KeyNameSecret = names },
		"random nonces": func(o *secure.Options) { o.RandomNonces = true }, "recompute": func(o *secure.Options) { o.OnTamper = secure.Recompute },
		"no swr": func(o *secure.Options) { o.StaleWhileRevalidate = secure.Off }, "unreliable": func(o *secure.Options) { o.Reliability, o.ReliabilityOptions = secure.Off, nil },
		"L1 only": func(o *secure.Options) { o.L1Only, o.Backend, o.ReliabilityOptions = true, nil, nil },
		"objects": func(o *secure.Options) {
			o.L1Only, o.Plaintext, o.Backend, o.MasterKey, o.ReliabilityOptions = true, true, nil, keys.MasterKey{}, nil
		},
	}
	for profile, constructor := range map[string]func(context.Context, *secure.Options) (*secure.Cache, error){"secure": secure.New, "production": secure.NewProduction, "minimal": secure.NewMinimal, "io": secure.NewIO} {
		for option, change := range options {
			if profile == "secure" && option == "objects" || profile == "io" && (option == "L1 only" || option == "objects") {
				continue // refused
			}
			t.Run(profile+"/"+option, func(t *testing.T) {
				t.Parallel()
				canary(t, constructor, profile == "io", option == "hidden", change)
			})
		}
	}
}

func canary(t *testing.T, constructor func(context.Context, *secure.Options) (*secure.Cache, error), io, hidden bool, change func(*secure.Options)) {
	s, sdk := new(sink), newCollector()
	master, err := keys.Hex(hexKey)
	if err != nil {
		t.Fatal(err)
	}
	o := &secure.Options{
		MasterKey: master, Observer: s.watch(otelsecure.Instrument("users", sdk.options())),
		Logger:             slog.New(slog.NewJSONHandler(s, &slog.HandlerOptions{Level: slog.LevelDebug})),
		ReliabilityOptions: &resilient.Options{Attempts: 2, BaseDelay: 1, OpenFor: time.Millisecond},
	}
	var b trouble
	if io {
		service := newService(t)
		b, o.CachekitIO = service, service.Options()
	} else {
		memory := &spy{Backend: memorybackend.New(nil), sink: s}
		b, o.Backend = memory, memory
	}
	change(o)
	c, err := constructor(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	script(t, c, s, b)
	dump(t, sdk, s)
	c.Close()
	if f, ok := b.(faultyService); ok {
		f.record(t, s)
	}
	scan(t, s, hidden)
}

// dump prints every span and metric as exporters see them.
func dump(t *testing.T, sdk *collector, s *sink) {
	spans := sdk.spans.GetSpans()
	for _, span := range spans {
		fmt.Fprintf(s, "span: %+v\n", span)
		_ = json.NewEncoder(s).Encode(span)
	}
	var rm metricdata.ResourceMetrics
	if err := sdk.reader.Collect(t.Context(), &rm); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(s, "metrics: %+v\n", rm)
	_ = json.NewEncoder(s).Encode(rm)
}

func scan(t *testing.T, s *sink, hidden bool) {
	t.Helper()
	text := s.text.String()
	if len(text) < 10_000 {
		t.Errorf("only %d bytes were collected", len(text))
	}
	for _, secret := range []string{keyCanary, valueCanary, errCanary, panicCanary, hexKey, hexNames, "ck_sdk", "ck_live"} {
		for _, line := range strings.Split(text, "\n") {
			if strings.Contains(strings.ToLower(line), secret) {
				t.Fatalf("%s shows up: %.600s", secret, line)
			}
		}
	}
	if bytes.Contains(s.stored.Bytes(), []byte("canary")) || bytes.Contains(s.stored.Bytes(), []byte(hexKey)) {
		t.Error("the storage was given a value in clear")
	}
	if hidden && bytes.Contains(s.names.Bytes(), []byte(keyCanary)) {
		t.Error("the storage was given a key in clear")
	}
}

// faultyService is CachekitIO as a storage in trouble.
type faultyService struct{ *iotest.Server }

func (f faultyService) fail()   { f.Inject(iotest.Fault{Kind: iotest.Answer, Status: 503}) }
func (f faultyService) resume() { f.Heal() }

func (f faultyService) tamperWith(on bool) {
	if !on {
		f.Heal()
		return
	}
	f.Inject(iotest.Fault{Kind: iotest.Answer, Status: 200, Body: bytes.Repeat([]byte("x"), 64), Match: func(r iotest.Request) bool {
		return r.Method == "GET" && r.Endpoint == "value"
	}})
}

// record writes down the keys that the service was given, and what it holds.
func (f faultyService) record(t *testing.T, s *sink) {
	client, err := cachekitio.Open(t.Context(), f.Options())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	held := 0
	for _, r := range f.Requests() {
		s.names.WriteString(r.Key + "\n")
		if v, err := client.Get(t.Context(), r.Key); r.Key != "" && err == nil {
			s.stored.Write(v)
			held++
		}
	}
	if held == 0 {
		t.Error("the service holds nothing")
	}
}

func newService(t *testing.T) faultyService {
	server, err := iotest.Start(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return faultyService{server}
}
