package secure_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/cachekitio/iotest"
	"github.com/cachekit-io/cachekit-go/backends/resilient"
	"github.com/cachekit-io/cachekit-go/secure"
)

var failing = &resilient.Options{Attempts: 2, Failures: 2, OpenFor: time.Minute}

// Which caches retry and open the circuit: by profile, and by option.
func TestReliabilityIsOn(t *testing.T) {
	for _, tc := range []struct {
		rule   string
		build  constructor
		change func(*secure.Options)
		want   bool
	}{
		{"on for secure", secure.New, nil, true},
		{"on for production", secure.NewProduction, nil, true},
		{"off for minimal", secure.NewMinimal, nil, false},
		{"an option switches it off", secure.New, func(o *secure.Options) { o.Reliability = secure.Off }, false},
		{"and on", secure.NewMinimal, func(o *secure.Options) { o.Reliability = secure.On }, true},
		{"options of it are wish enough", secure.NewMinimal, func(o *secure.Options) { o.ReliabilityOptions = new(resilient.Options) }, true},
		{"the default backend is wrapped too", secure.New, func(o *secure.Options) {
			secure.SetDefaultBackend(o.Backend)
			o.Backend = nil
		}, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			clean(t)
			f := newFake()
			opts := &secure.Options{Backend: f, MasterKey: key(t, "1"), Logger: new(logs).logger()}
			if tc.change != nil {
				tc.change(opts)
			}
			c, err := tc.build(t.Context(), opts)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			var attempts atomic.Int32
			f.setFault(func(op, key string) error { attempts.Add(1); return outage(op, key) })
			var out string
			for range 5 {
				if _, err := c.Get(t.Context(), "k", &out); !errors.Is(err, secure.ErrUnavailable) {
					t.Errorf("%s: got %v", tc.rule, err)
				}
			}
			want := secure.Stats{}.Reliability
			n := int32(5)
			if tc.want {
				n, want = 15, resilient.Stats{State: resilient.Open, Trips: 1, Retries: 10}
			}
			if got := c.Stats().Reliability; got != want || attempts.Load() != n {
				t.Errorf("%s: %d attempts, %+v; want %d, %+v", tc.rule, attempts.Load(), got, n, want)
			}
		})
	}
}

func TestReliabilityOptionsAct(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, log := newFake(), new(logs)
		var seen []string
		o := *failing
		o.OnStateChange = func(from, to resilient.State) { seen = append(seen, fmt.Sprint(from, " > ", to)) }
		c, err := secure.New(t.Context(), &secure.Options{Backend: f, MasterKey: key(t, "1"), Logger: log.logger(), ReliabilityOptions: &o, NoL1: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		o.Failures = 1000 // options are copied
		f.setFault(outage)
		var out string
		for range 3 {
			c.Get(t.Context(), "k", &out)
		}
		if s := c.Stats().Reliability; s.Retries != 2 || s.Refused != 1 || s.State != resilient.Open {
			t.Errorf("%+v", s)
		}
		if h := c.Health(t.Context()); h.OK || h.Details["circuit"] != "open" {
			t.Errorf("Health does not show the circuit: %+v", h)
		}
		f.setFault(nil)
		time.Sleep(time.Minute)
		for range 3 {
			if _, err := c.Get(t.Context(), "k", &out); err != nil {
				t.Error(err)
			}
		}
		if len(seen) != 3 || !strings.Contains(log.String(), "level=WARN msg=\"cachekit: circuit opened") || !strings.Contains(log.String(), "circuit closed") {
			t.Errorf("the hook saw %q, the log has:\n%s", seen, log)
		}
	})
}

// A backend that is wrapped already is not wrapped again, and shows in Stats.
func TestWrappedBackends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		b, err := resilient.New(f, failing)
		if err != nil {
			t.Fatal(err)
		}
		for _, sw := range []secure.Switch{0, secure.On, secure.Off} {
			c, err := secure.New(t.Context(), &secure.Options{Backend: b, MasterKey: key(t, "1"), Reliability: sw})
			if err != nil {
				t.Fatal(err)
			}
			f.setFault(outage)
			var out string
			c.Get(t.Context(), "k", &out)
			if got, want := c.Stats().Reliability, b.Stats(); got != want || want.Retries != 1 {
				t.Errorf("switch %d: %+v, want %+v with one retry", sw, got, want)
			}
			f.setFault(nil)
			c.Close()
			if b, err = resilient.New(f, failing); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Closing a cache does not close a backend that was passed in, wrapped or not.
func TestPassedBackendsStayOpen(t *testing.T) {
	f := newFake()
	c, err := secure.New(t.Context(), &secure.Options{Backend: f, MasterKey: key(t, "1")})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil || f.closed {
		t.Errorf("Close = %v; the backend is closed: %t", err, f.closed)
	}
}

// After an outage of the read, a load does not wait for the backend as long
// again, with the breaker or without.
func TestLoadsWaitForADeadBackendOnce(t *testing.T) {
	for _, sw := range []secure.Switch{secure.On, secure.Off} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			c, err := secure.New(t.Context(), &secure.Options{Backend: stalling{f}, MasterKey: key(t, "1"), Reliability: sw, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			v := secure.For[string](c)
			start := time.Now()
			got, err := v.GetOrLoad(t.Context(), "k", func(context.Context) (string, error) { return "loaded", nil })
			if took := time.Since(start); got != "loaded" || err != nil || took > 6*time.Second {
				t.Errorf("GetOrLoad: %q, %v after %v", got, err, took)
			}
			start = time.Now()
			many, err := v.GetOrLoadMany(t.Context(), []string{"k", "l"}, func(_ context.Context, missing []string) (map[string]string, error) {
				return map[string]string{"k": "v", "l": "v"}, nil
			})
			if took := time.Since(start); len(many) != 2 || err != nil || took > 6*time.Second {
				t.Errorf("GetOrLoadMany: %v, %v after %v", many, err, took)
			}
		})
	}
}

// stalling answers nothing and gives up after five seconds.
type stalling struct{ backends.Backend }

func (s stalling) stall(ctx context.Context) error {
	select {
	case <-time.After(5 * time.Second):
		return &backends.Error{Op: "any", Backend: "fake", Kind: backends.Timeout}
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s stalling) Get(ctx context.Context, key string) ([]byte, error) { return nil, s.stall(ctx) }

func (s stalling) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return s.stall(ctx)
}

// The io profile retries as often as the service's own settings say.
func TestIORetriesAsItsSettingsSay(t *testing.T) {
	clean(t)
	s := service(t)
	for _, tc := range []struct {
		rule    string
		retries int
		opts    *resilient.Options
		want    int
	}{
		{"by default", 0, nil, 4},
		{"once", 1, nil, 2},
		{"never", -1, nil, 1},
		{"an explicit option", 1, &resilient.Options{Attempts: 3}, 3},
	} {
		c := openIO(t, s, func(o *secure.Options) {
			o.CachekitIO.MaxRetries, o.ReliabilityOptions, o.NoL1 = tc.retries, tc.opts, true
		})
		before := len(s.Requests())
		s.Inject(iotest.Fault{Kind: iotest.Answer, Status: 503})
		var out string
		if _, err := c.Get(t.Context(), "k", &out); !errors.Is(err, secure.ErrUnavailable) {
			t.Errorf("%s: %v", tc.rule, err)
		}
		if n := len(s.Requests()) - before; n != tc.want {
			t.Errorf("%s: %d requests, want %d", tc.rule, n, tc.want)
		}
		s.Heal()
	}
}
