package cachekitio_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/cachekitio"
	"github.com/cachekit-io/cachekit-go/backends/cachekitio/iotest"
)

func only(method string) func(iotest.Request) bool {
	return func(r iotest.Request) bool { return r.Method == method }
}

// callers makes calls from n goroutines.
func callers(t *testing.T, n int, call func(g int) error) {
	t.Helper()
	var wg sync.WaitGroup
	for g := range n {
		wg.Go(func() {
			if err := call(g); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestOneConnectionCarriesAllCalls(t *testing.T) {
	s := serve(t, nil)
	b := open(t, s.Options())
	s.Inject(iotest.Fault{Kind: iotest.Delay, Delay: 50 * time.Millisecond})
	callers(t, 64, func(g int) error {
		key := fmt.Sprint("k", g)
		if err := b.Set(t.Context(), key, []byte(key), time.Hour); err != nil {
			return err
		}
		v, err := b.Get(t.Context(), key)
		if string(v) != key {
			return fmt.Errorf("%s holds %q, %w", key, v, err)
		}
		return err
	})
	if _, opened := s.Connections(); opened != 1 {
		t.Errorf("%d connections were opened, want 1", opened)
	}
}

// Rule: more calls than the server takes at once wait for their turn, on the one
// connection; the wait ends with the context of the call.
func TestMoreCallsThanStreams(t *testing.T) {
	s := serve(t, &iotest.Options{MaxStreams: 4})
	b := open(t, s.Options())
	for range 5 {
		callers(t, 200, func(g int) error {
			if err := b.Set(t.Context(), fmt.Sprint("k", g), []byte("v"), time.Hour); err != nil {
				return err
			}
			_, err := b.Get(t.Context(), fmt.Sprint("k", g))
			return err
		})
	}
	s.Inject(iotest.Fault{Kind: iotest.Stall})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	callers(t, 50, func(int) error {
		if _, err := b.Get(ctx, "k0"); !errors.Is(err, context.Canceled) {
			return fmt.Errorf("while all streams stall: %w, want the end of the context", err)
		}
		return nil
	})
	s.Heal()
	if _, err := b.Get(t.Context(), "k0"); err != nil {
		t.Errorf("after the stall: %v", err)
	}
	if _, opened := s.Connections(); opened != 1 {
		t.Errorf("%d connections were opened, want 1", opened)
	}
}

// Rule: what the server declares unprocessed is sent again, writes too, and a
// connection that the server wants to be left is left without a failure.
func TestGoAway(t *testing.T) {
	for name, kind := range map[string]iotest.Kind{"unprocessed": iotest.GoAway, "after the answer": iotest.GoAwayAfter} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, nil)
			b := open(t, s.Options())
			for i := range 3 {
				s.Inject(iotest.Fault{Kind: kind, Times: 1, Match: only("PUT")})
				put(t, b, fmt.Sprint("k", i), time.Hour)
				if v, err := b.Get(t.Context(), fmt.Sprint("k", i)); err != nil || string(v) != fmt.Sprint("value of k", i) {
					t.Errorf("Get = %q, %v", v, err)
				}
			}
			if _, opened := s.Connections(); opened != 4 {
				t.Errorf("%d connections were opened, want 4", opened)
			}
		})
	}
}

// Rule: a connection that breaks fails the writes on it, which may have been
// executed, and no others; reads are sent once more.
func TestBrokenConnections(t *testing.T) {
	s := serve(t, nil)
	b := open(t, s.Options())
	put(t, b, "k", time.Hour)
	s.Inject(iotest.Fault{Kind: iotest.ResetConn, Times: 1, Executed: true, Match: only("PUT")})
	if err := b.Set(t.Context(), "k", []byte("other"), time.Hour); kindOf(err) != backends.Transient {
		t.Errorf("Set over a broken connection = %v, want Transient", err)
	}
	if n := len(asked(s, func() { s.Inject(iotest.Fault{Kind: iotest.ResetConn, Times: 1}); _, _ = b.Get(t.Context(), "k") })); n > 2 {
		t.Errorf("a read was sent %d times", n)
	}
	put(t, b, "k", time.Hour)
}

// Rule: calls succeed again within 2 s after the connection has begun to drop
// every packet, however short the callers' patience is.
func TestBlackHole(t *testing.T) {
	for _, patience := range []time.Duration{50 * time.Millisecond, 300 * time.Millisecond, 5 * time.Second} {
		t.Run(patience.String(), func(t *testing.T) {
			t.Parallel()
			for _, write := range []bool{false, true} {
				best := time.Hour
				for range 3 { // a machine under load has three tries
					if best = min(best, recovery(t, patience, write)); best < 2*time.Second {
						break
					}
				}
				if best > 2*time.Second {
					t.Errorf("writes %t: calls succeed again after %v", write, best)
				}
			}
		})
	}
}

func recovery(t *testing.T, patience time.Duration, write bool) time.Duration {
	s := serve(t, nil)
	b := open(t, s.Options())
	put(t, b, "k", time.Hour)
	s.BlackHole()
	start := time.Now()
	for time.Since(start) < 20*time.Second {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		_, err := b.Get(ctx, "k")
		if write {
			err = b.Set(ctx, "k", []byte("v"), time.Hour)
		}
		cancel()
		if err == nil {
			break
		}
		if kindOf(err) == 0 && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("during the black hole: %v", err)
		}
	}
	return time.Since(start)
}

// Rule: it recovers as fast from a network that is gone altogether, once that is
// back, and is silent about nothing meanwhile.
func TestPartition(t *testing.T) {
	s := serve(t, nil)
	b := open(t, options(s, func(o *cachekitio.Options) { o.Timeout = 400 * time.Millisecond }))
	s.Partition()
	for range 4 {
		if _, err := b.Get(t.Context(), "k"); kindOf(err) != backends.Timeout && kindOf(err) != backends.Transient {
			t.Errorf("in a partition: %v", err)
		}
	}
	s.Heal()
	start := time.Now()
	for time.Since(start) < 20*time.Second {
		if _, err := b.Exists(t.Context(), "k"); err == nil {
			break
		}
	}
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("calls succeed %v after the partition", took)
	}
}

func TestProxy(t *testing.T) {
	s := serve(t, nil)
	proxyURL, err := s.Proxy()
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(proxyURL)
	if err != nil {
		t.Fatal(err)
	}
	b := open(t, options(s, func(o *cachekitio.Options) { o.DialContext, o.Proxy = nil, u }))
	put(t, b, "k", time.Hour)
	if v, err := b.Get(t.Context(), "k"); err != nil || string(v) != "value of k" {
		t.Errorf("through a proxy: %q, %v", v, err)
	}
	_, err = cachekitio.Open(t.Context(), options(s, func(o *cachekitio.Options) { o.Proxy = u }))
	var refused *cachekitio.OptionsError
	if !errors.As(err, &refused) {
		t.Errorf("a proxy beside a dialer: %v", err)
	}
	_, err = cachekitio.Open(t.Context(), options(s, func(o *cachekitio.Options) {
		o.DialContext, o.Proxy = nil, &url.URL{Scheme: "socks5", Host: "h"}
	}))
	if !errors.As(err, &refused) {
		t.Errorf("a proxy of another kind: %v", err)
	}
}

// Rule: only https, to a host that is allowed and public, in every spelling, and
// no address that a name turns out to have. The text shows no URL.
func TestWhereItMayConnectTo(t *testing.T) {
	key := apiKey(t, keyText)
	for _, tc := range []struct {
		url    string
		custom bool
	}{
		{"http://api.cachekit.io", false}, {"https://hunter2.example", false}, {"https://api.cachekit.io.hunter2.example", false},
		{"https://user:hunter2@api.cachekit.io", false}, {"https://api.cachekit.io?hunter2", false}, {"https://api.cachekit.io#hunter2", false},
		{"https://", false}, {"hunter2", false}, {"https://api.cachekit.io\\@hunter2", false}, {"https://api.cachekit.io:0", false}, {"ftp://api.cachekit.io", false},
		{"https://127.0.0.1", true}, {"https://localhost", true}, {"https://2130706433", true}, {"https://0x7f.1", true}, {"https://0177.0.0.1", true},
		{"https://127.1", true}, {"https://[::1]", true}, {"https://[::ffff:10.0.0.1]", true}, {"https://[64:ff9b::a00:1]", true}, {"https://[2002:a00:1::]", true},
		{"https://10.0.0.1", true}, {"https://172.16.0.1", true}, {"https://192.168.1.1", true}, {"https://169.254.169.254", true}, {"https://100.64.0.1", true},
		{"https://0.0.0.0", true}, {"https://[fd00::1]", true}, {"https://[fe80::1]", true}, {"http://public.example", true},
	} {
		_, err := cachekitio.Open(t.Context(), &cachekitio.Options{APIKey: key, URL: tc.url, AllowCustomHost: tc.custom})
		var refused *cachekitio.OptionsError
		if !errors.As(err, &refused) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), keyText) {
			t.Errorf("%s: %v, want an *OptionsError that shows nothing of it", tc.url, err)
		}
	}
	s := serve(t, nil)
	for name, dial := range map[string]func(context.Context, string, string) (net.Conn, error){
		"a user's dialer to a loopback address": func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.Addr())
		},
	} {
		_, err := cachekitio.Open(t.Context(), options(s, func(o *cachekitio.Options) { o.DialContext = dial }))
		if kindOf(err) != backends.Permanent || !strings.Contains(err.Error(), "loopback") {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
}

// Rule: a server that cannot be the service is told apart from an outage.
func TestWrongServers(t *testing.T) {
	s, other := serve(t, nil), serve(t, nil)
	for rule, tc := range map[string]struct {
		change func(*cachekitio.Options)
		want   backends.Kind
	}{
		"a certificate of another authority": {func(o *cachekitio.Options) { o.RootCAs = other.RootCAs() }, backends.Permanent},
		"a certificate for another name":     {func(o *cachekitio.Options) { o.URL = "https://api.staging.cachekit.io"; o.DialContext = s443(s) }, backends.Permanent},
		"nobody there": {func(o *cachekitio.Options) {
			o.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:1")
			}
		}, backends.Transient},
		"another path": {func(o *cachekitio.Options) { o.URL += "/elsewhere" }, backends.Permanent},
	} {
		_, err := cachekitio.Open(t.Context(), options(s, tc.change))
		if kindOf(err) != tc.want {
			t.Errorf("%s: %v, want %s", rule, err, tc.want)
		}
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := cachekitio.Open(over, s.Options()); !errors.Is(err, context.Canceled) {
		t.Errorf("Open with a context that is over = %v", err)
	}
}

func s443(s *iotest.Server) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return s.DialContext(ctx, network, "api.cachekit.io:443")
	}
}
