package secure_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends/cachekitio"
	"github.com/cachekit-io/cachekit-go/backends/cachekitio/iotest"
	"github.com/cachekit-io/cachekit-go/secure"
)

func someAPIKey(t *testing.T) cachekitio.APIKey {
	t.Helper()
	k, err := cachekitio.ParseAPIKey("ck_sdk_test")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func service(t *testing.T) *iotest.Server {
	t.Helper()
	s, err := iotest.Start(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// openIO opens a cache of the io profile on s, with a stale window of an hour.
func openIO(t *testing.T, s *iotest.Server, change func(*secure.Options)) *secure.Cache {
	t.Helper()
	o := &secure.Options{MasterKey: key(t, "1"), CachekitIO: s.Options()}
	o.CachekitIO.StaleTTL = time.Hour
	if change != nil {
		change(o)
	}
	c, err := secure.NewIO(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestIO(t *testing.T) {
	clean(t)
	s := service(t)
	c := openIO(t, s, func(o *secure.Options) { o.Namespace = "users" })
	if err := c.Set(t.Context(), "42", "value"); err != nil {
		t.Fatal(err)
	}
	var got string
	other := openIO(t, s, nil)
	if found, err := other.Get(t.Context(), "users:42", &got); !found || err != nil || got != "value" {
		t.Errorf("another cache reads %q, %t, %v", got, found, err)
	}
	if h := c.Health(t.Context()); !h.OK || h.BackendType != "cachekitio" || h.Latency <= 0 {
		t.Errorf("health = %+v", h)
	}
	for _, r := range s.Requests() {
		if r.Header.Get("X-CacheKit-L1-Status") == "" {
			t.Errorf("%s %s has no L1 status", r.Method, r.Endpoint)
		}
		if r.Method == "PUT" && (r.Header.Get("X-CacheKit-TTL") != "3600" || r.Header.Get("X-CacheKit-Stale-TTL") != "3600") {
			t.Errorf("PUT with TTL %q and stale TTL %q, want the profile's 3600 s and the option's", r.Header.Get("X-CacheKit-TTL"), r.Header.Get("X-CacheKit-Stale-TTL"))
		}
	}
}

func TestIOTakesItsKeyFromWhereItIsGiven(t *testing.T) {
	s := service(t)
	good, err := cachekitio.ParseAPIKey(s.APIKey())
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		rule             string
		option, settings cachekitio.APIKey
		env              string
		want             error
	}{
		{"Options.APIKey", good, cachekitio.APIKey{}, "ck_sdk_wrong", nil},
		{"Options.CachekitIO.APIKey", cachekitio.APIKey{}, good, "ck_sdk_wrong", nil},
		{"the environment", cachekitio.APIKey{}, cachekitio.APIKey{}, s.APIKey(), nil},
		{"a key that the service does not know", someAPIKey(t), cachekitio.APIKey{}, s.APIKey(), secure.ErrBackend},
	} {
		clean(t)
		os.Setenv("CACHEKIT_API_KEY", tc.env) // clean restores it
		o := &secure.Options{MasterKey: key(t, "1"), APIKey: tc.option, CachekitIO: s.Options()}
		o.CachekitIO.APIKey = tc.settings
		c, err := secure.NewIO(t.Context(), o)
		if !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
			t.Errorf("%s: %v, want %v", tc.rule, err, tc.want)
		}
		if err != nil && (strings.Contains(err.Error(), "ck_sdk") || !strings.Contains(err.Error(), "API key")) {
			t.Errorf("%s: %v, want a remedy and no key", tc.rule, err)
		}
		if c != nil {
			c.Close()
		}
	}
}

// The environment's key selects the service for every profile; a name in .invalid
// (RFC 6761) resolves nowhere.
func TestTheEnvironmentSelectsTheService(t *testing.T) {
	clean(t)
	for name, value := range map[string]string{"CACHEKIT_API_KEY": "ck_sdk_test", "CACHEKIT_API_URL": "https://service.invalid",
		"CACHEKIT_ALLOW_CUSTOM_HOST": "true", "CACHEKIT_TIMEOUT": "2"} {
		t.Setenv(name, value)
	}
	for name, build := range map[string]constructor{"New": secure.New, "NewProduction": secure.NewProduction, "NewIO": secure.NewIO} {
		_, err := build(t.Context(), &secure.Options{MasterKey: key(t, "1")})
		if !errors.Is(err, secure.ErrUnavailable) || !strings.Contains(err.Error(), "cachekitio") || strings.Contains(err.Error(), "ck_sdk") {
			t.Errorf("%s: %v, want the outage of cachekitio", name, err)
		}
	}
}

func TestResolveIO(t *testing.T) {
	k := someAPIKey(t)
	for _, tc := range []struct {
		rule, env string
		set       bool
		opts      secure.Options
		source    string
		says      string
		over      []string
	}{
		{rule: "nothing", says: "no API key"},
		{rule: "an empty variable", set: true, says: "empty"},
		{rule: "the environment", set: true, env: "ck_sdk_test", source: "CACHEKIT_API_KEY", over: []string{"CACHEKIT_REDIS_URL"}},
		{rule: "an option", set: true, env: "ck_sdk_test", opts: secure.Options{APIKey: k}, source: "Options.APIKey", over: []string{"CACHEKIT_API_KEY", "CACHEKIT_REDIS_URL"}},
		{rule: "settings with a key", opts: secure.Options{CachekitIO: &cachekitio.Options{APIKey: k}}, source: "Options.CachekitIO", over: []string{"CACHEKIT_REDIS_URL"}},
		{rule: "settings without", set: true, env: "ck_sdk_test", opts: secure.Options{CachekitIO: &cachekitio.Options{}}, source: "CACHEKIT_API_KEY", over: []string{"CACHEKIT_REDIS_URL"}},
	} {
		clean(t)
		t.Setenv("CACHEKIT_REDIS_URL", "redis://127.0.0.1:1")
		if tc.set {
			t.Setenv("CACHEKIT_API_KEY", tc.env)
		}
		tc.opts.MasterKey = key(t, "1")
		r, err := secure.ResolveIO(&tc.opts)
		if tc.says != "" {
			if !errors.Is(err, secure.ErrConfig) || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), "CACHEKIT_API_KEY") {
				t.Errorf("%s: %v", tc.rule, err)
			}
			continue
		}
		if err != nil || r.Backend.Source != tc.source || r.Backend.Kind != "cachekitio" || fmt.Sprint(r.Backend.PassedOver) != fmt.Sprint(tc.over) {
			t.Errorf("%s: %v, %+v", tc.rule, err, r.Backend)
		}
	}
}

func TestIOReportsItsCounters(t *testing.T) {
	clean(t)
	s := service(t)
	c, off := openIO(t, s, nil), openIO(t, s, func(o *secure.Options) { o.NoL1 = true })
	var v string
	c.Get(t.Context(), "none", &v)
	c.Set(t.Context(), "k", "v")
	c.Get(t.Context(), "k", &v)
	c.Get(t.Context(), "k", &v)
	c.Exists(t.Context(), "k")
	last := func() map[string]string {
		t.Helper()
		r := s.Requests()
		h := map[string]string{}
		for _, name := range []string{"L1-Status", "L1-Hits", "L2-Hits", "Misses", "L1-Hit-Rate"} {
			h[name] = r[len(r)-1].Header.Get("X-CacheKit-" + name)
		}
		return h
	}
	want := map[string]string{"L1-Status": "miss", "L1-Hits": "2", "L2-Hits": "0", "Misses": "1", "L1-Hit-Rate": "0.667"}
	if got := last(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("counters are %v, want %v", got, want)
	}
	off.Get(t.Context(), "k", &v)
	off.Exists(t.Context(), "k")
	if got := last(); got["L1-Status"] != "disabled" || got["L2-Hits"] != "1" {
		t.Errorf("without the in-process layer: %v", got)
	}
}

// stale is a service with the entry "k" = "old" in its stale window, and a fresh
// cache on it.
func stale(t *testing.T, change func(*secure.Options)) (*iotest.Server, *secure.Cache) {
	t.Helper()
	clean(t)
	s := service(t)
	writer := openIO(t, s, nil)
	if err := writer.Set(t.Context(), "k", "old"); err != nil {
		t.Fatal(err)
	}
	s.Advance(time.Hour + time.Minute)
	return s, openIO(t, s, change)
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s does not come", what)
		}
	}
}

func count(s *iotest.Server, method, endpoint string) (n int) {
	for _, r := range s.Requests() {
		if r.Method == method && r.Endpoint == endpoint {
			n++
		}
	}
	return n
}

func TestAStaleEntryIsServedWhileOneProcessLoadsIt(t *testing.T) {
	s, first := stale(t, nil)
	caches := []*secure.Cache{first, openIO(t, s, nil), openIO(t, s, func(o *secure.Options) { o.NoL1 = true })}
	hold := make(chan struct{})
	var loads atomic.Int32
	load := func(context.Context) (string, error) {
		loads.Add(1)
		<-hold
		return "new", nil
	}
	var wg sync.WaitGroup
	for _, c := range caches {
		for range 8 {
			wg.Go(func() {
				if got, err := secure.For[string](c).GetOrLoad(t.Context(), "k", load); got != "old" || err != nil {
					t.Errorf("got %q, %v, want the stale value", got, err)
				}
			})
		}
	}
	wg.Wait() // nobody waits for the loader, which hangs
	eventually(t, "the load", func() bool { return loads.Load() > 0 })
	// While the lease is held, every other attempt is turned away.
	eventually(t, "the others' attempts", func() bool { return count(s, "POST", "lock") >= 3 })
	for _, c := range caches {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if got, err := secure.For[string](c).GetOrLoad(ctx, "k", load); got != "old" || err != nil {
			t.Errorf("during the load: %q, %v", got, err)
		}
		cancel()
	}
	close(hold)
	eventually(t, "the release of the lock", func() bool { return count(s, "DELETE", "lock") >= 1 })
	if n := loads.Load(); n != 1 {
		t.Errorf("%d loads ran, want 1", n)
	}
	for _, c := range caches {
		if got, err := secure.For[string](c).GetOrLoad(t.Context(), "k", load); got != "new" || err != nil {
			t.Errorf("after the load: %q, %v", got, err)
		}
	}
	stats := caches[0].Stats()
	if stats.Misses != 0 || loads.Load() != 1 {
		t.Errorf("%d misses were counted and %d loads ran, want 0 and 1", stats.Misses, loads.Load())
	}
	for _, r := range s.Requests() {
		if r.Method == "PUT" && (r.Header.Get("X-CacheKit-Stale-TTL") != "3600" || r.Header.Get("X-CacheKit-TTL") != "3600") {
			t.Error("a PUT does not send both windows again")
		}
	}
}

func TestAFailedRevalidationIsAbsorbed(t *testing.T) {
	for _, tc := range []struct {
		rule  string
		fault iotest.Fault
		load  error
		loads bool
	}{
		{"the loader fails", iotest.Fault{}, errors.New("the origin is down"), true},
		{"the store fails", iotest.Fault{Kind: iotest.Answer, Status: 503, Match: func(r iotest.Request) bool { return r.Method == "PUT" }}, nil, true},
		{"the lock fails", iotest.Fault{Kind: iotest.Answer, Status: 500, Match: func(r iotest.Request) bool { return r.Method == "POST" }}, nil, false},
		{"another client has the lock", iotest.Fault{Kind: iotest.Answer, Body: []byte(`{"lock_id": null}`), Match: func(r iotest.Request) bool { return r.Method == "POST" }}, nil, false},
		{"an old server has the lock", iotest.Fault{Kind: iotest.Answer, Status: 409, Match: func(r iotest.Request) bool { return r.Method == "POST" }}, nil, false},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			s, c := stale(t, nil)
			if tc.fault.Kind != 0 {
				s.Inject(tc.fault)
			}
			var loads atomic.Int32
			load := func(context.Context) (string, error) { loads.Add(1); return "new", tc.load }
			get := func(want string) {
				t.Helper()
				if got, err := secure.For[string](c).GetOrLoad(t.Context(), "k", load); got != want || err != nil {
					t.Errorf("got %q, %v, want %q", got, err, want)
				}
			}
			get("old")
			done := func() bool { return count(s, "POST", "lock") == 1 }
			if tc.loads {
				done = func() bool { return loads.Load() == 1 && count(s, "DELETE", "lock") == 1 }
			}
			eventually(t, "the attempt", done)
			if !tc.loads && loads.Load() != 0 {
				t.Error("the loader ran without the lease")
			}
			s.Heal()
			tc.load = nil
			eventually(t, "a new attempt", func() bool { get0, _ := secure.For[string](c).GetOrLoad(t.Context(), "k", load); return get0 == "new" })
		})
	}
}

func TestStaleEntriesEndWithTheirWindow(t *testing.T) {
	s, c := stale(t, nil)
	fail := func(context.Context) (string, error) { return "", errors.New("the origin is down") }
	if got, err := secure.For[string](c).GetOrLoad(t.Context(), "k", fail); got != "old" || err != nil {
		t.Errorf("in the stale window: %q, %v", got, err)
	}
	s.Advance(time.Hour)
	if got, err := secure.For[string](c).GetOrLoad(t.Context(), "k", fail); err == nil {
		t.Errorf("past the stale window: got %q", got)
	}
}

func TestStaleWhileRevalidateOffTakesAStaleEntryForAMiss(t *testing.T) {
	_, c := stale(t, func(o *secure.Options) { o.StaleWhileRevalidate = secure.Off })
	if got, err := secure.For[string](c).GetOrLoad(t.Context(), "k", func(context.Context) (string, error) { return "new", nil }); got != "new" || err != nil {
		t.Errorf("got %q, %v, want the loaded value", got, err)
	}
}

func TestAStaleEntryHasNoCopyInTheProcess(t *testing.T) {
	s, c := stale(t, nil)
	var v string
	for range 3 {
		if found, err := c.Get(t.Context(), "k", &v); !found || err != nil || v != "old" {
			t.Errorf("Get = %q, %t, %v", v, found, err)
		}
	}
	// A positive bound on a stale entry is a mistake of the server and no licence.
	b, err := cachekitio.Open(t.Context(), s.Options())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	sealed, err := b.Get(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	s.Inject(iotest.Fault{Kind: iotest.Answer, Body: sealed, Header: http.Header{"X-Cachekit-Freshness": {"stale"}, "X-Cachekit-Fresh-For": {"60"}}})
	for range 2 {
		if found, err := c.Get(t.Context(), "k", &v); !found || err != nil {
			t.Errorf("Get = %t, %v", found, err)
		}
	}
	if n := count(s, "GET", "value"); n != 6 {
		t.Errorf("%d of 6 reads reached the service", n)
	}
	if n := count(s, "POST", "lock"); n != 0 {
		t.Error("Get, which has no loader, took the lock")
	}
}
