package httpbackend_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/httpbackend"
)

// Rule: a URL that cannot work is refused before anything is sent, and the error
// repeats nothing of it.
func TestOpenRefusesURLs(t *testing.T) {
	local := &httpbackend.Options{PlainHTTP: true, PrivateNetwork: true}
	for what, c := range map[string]struct {
		url string
		o   *httpbackend.Options
	}{
		"empty":                       {"", nil},
		"no key":                      {"https://canary.test/cache/", nil},
		"two keys":                    {"https://canary.test/{key}/{key}", nil},
		"a key in the host":           {"https://{key}.canary.test/", nil},
		"the key as host":             {"https://{key}/", nil},
		"the key as port":             {"https://canary.test:{key}/", nil},
		"another brace":               {"https://canary.test/{key}/{name}", nil},
		"a ttl in the path":           {"https://canary.test/{ttl}/{key}", nil},
		"a ttl in the host":           {"https://canary.test.{ttl}/{key}", nil},
		"two ttls":                    {"https://canary.test/{key}?a={ttl}&b={ttl}", nil},
		"a part of a parameter":       {"https://canary.test/{key}?a=x{ttl}", nil},
		"two slashes":                 {"https://canary.test//{key}", nil},
		"a fragment":                  {"https://canary.test/{key}#x", nil},
		"http":                        {"http://canary.test/{key}", nil},
		"credentials":                 {"https://user:canary@kv.test/{key}", nil},
		"loopback":                    {"https://127.0.0.1/canary/{key}", nil},
		"loopback in hex":             {"https://0x7f.1/canary/{key}", nil},
		"localhost":                   {"https://localhost/canary/{key}", nil},
		"private":                     {"https://[::ffff:10.0.0.1]/canary/{key}", nil},
		"metadata, private allowed":   {"http://169.254.169.254/canary/{key}", local},
		"ttl twice":                   {"https://canary.test/{key}?t={ttl}", &httpbackend.Options{TTLHeader: "X-TTL"}},
		"ttl and a rule":              {"https://canary.test/{key}?t={ttl}", &httpbackend.Options{StoreExpires: true}},
		"a proxy for http":            {"http://canary.test/{key}", &httpbackend.Options{PlainHTTP: true, Proxy: &url.URL{Scheme: "http", Host: "p"}}},
		"a control character":         {"https://canary.test/\x01{key}", nil},
		"a stand-in of ours as a key": {"https://canary.test/cachekit-key-goes-here/{key}", nil},
	} {
		b, err := httpbackend.Open(t.Context(), c.url, c.o)
		var bad *httpbackend.OptionsError
		if !errors.As(err, &bad) || b != nil {
			t.Errorf("%s = %v, want an *OptionsError", what, err)
		} else if strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the error repeats the URL: %v", what, err)
		}
	}
}

// Rule: the refusal of a URL that an option would allow names the option.
func TestRefusalsNameTheRemedy(t *testing.T) {
	for rawURL, want := range map[string]string{
		"http://canary.test/{key}":       "(Options.PlainHTTP allows http)",
		"https://127.0.0.1/{key}":        "(Options.PrivateNetwork allows private addresses)",
		"http://localhost/{key}":         "(Options.PlainHTTP allows http, Options.PrivateNetwork allows private addresses)",
		"https://169.254.169.254/{key}":  "",
		"https://user:canary@kv.t/{key}": "",
	} {
		_, err := httpbackend.Open(t.Context(), rawURL, nil)
		if err == nil || !strings.Contains(err.Error(), want) || want == "" && strings.Contains(err.Error(), "Options.") {
			t.Errorf("%s = %v, want the remedy %q", rawURL, err, want)
		}
	}
}

func TestOpenRefusesOptions(t *testing.T) {
	dial := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no") }
	for what, o := range map[string]httpbackend.Options{
		"a method":             {Methods: httpbackend.Methods{Set: "PUT canary"}},
		"CONNECT":              {Methods: httpbackend.Methods{Get: "CONNECT"}},
		"a header name":        {Header: http.Header{"can ary": {"x"}}},
		"a header value":       {Header: http.Header{"X-A": {"canary\r\nX: y"}}},
		"a header of ours":     {Header: http.Header{"host": {"canary"}}},
		"a range":              {Header: http.Header{"Range": {"bytes=0-1"}}},
		"a credential":         {Credential: httpbackend.Bearer("canary\n")},
		"a credential's name":  {Credential: httpbackend.SecretHeader("Content-Length", "1")},
		"a ttl header":         {TTLHeader: "X TTL"},
		"a ttl header of ours": {TTLHeader: "Content-Length"},
		"two rules":            {TTLHeader: "X-TTL", StoreExpires: true},
		"a format":             {TTLFormat: 99},
		"an outcome":           {Status: map[int]httpbackend.Outcome{200: 0}},
		"an unknown outcome":   {Status: map[int]httpbackend.Outcome{200: 99}},
		"a status":             {Status: map[int]httpbackend.Outcome{100: httpbackend.Success}},
		"a size":               {MaxValueBytes: -1},
		"a timeout":            {Timeout: -1},
		"a health path":        {HealthPath: "health"},
		"a health host":        {HealthPath: "//canary.test/"},
		"a health URL":         {HealthPath: "https://canary.test/"},
		"a proxy's scheme":     {Proxy: &url.URL{Scheme: "socks5", Host: "canary"}},
		"a proxy and a dialer": {Proxy: &url.URL{Scheme: "http", Host: "canary"}, DialContext: dial},
	} {
		_, err := httpbackend.Open(t.Context(), "https://kv.test/{key}", &o)
		var bad *httpbackend.OptionsError
		if !errors.As(err, &bad) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s = %v, want an *OptionsError that tells nothing", what, err)
		}
	}
}

// Rule: a private address is refused when DNS, or the program's own dialer, leads
// to it, unless private networks are allowed.
func TestPrivateAddressAfterDNS(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = httpbackend.Open(t.Context(), "https://kv.example/{key}", &httpbackend.Options{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, l.Addr().String())
		},
	})
	var e *backends.Error
	if !errors.As(err, &e) || e.Kind != backends.Permanent || !strings.Contains(err.Error(), "loopback") {
		t.Errorf("Open = %v", err)
	}
}

// Rule: the key is one segment, or one parameter, whatever it holds; the TTL goes
// with writes alone.
func TestTargets(t *testing.T) {
	for template, want := range map[string]map[string]string{
		"/a%2Fb/{key}":              {"GET": "/a%2Fb/x%2Fy%3F%23%25", "PUT": "/a%2Fb/x%2Fy%3F%23%25"},
		"/{key}.bin?v=1":            {"GET": "/x%2Fy%3F%23%25.bin?v=1", "PUT": "/x%2Fy%3F%23%25.bin?v=1"},
		"/?k={key}&ttl={ttl}":       {"GET": "/?k=x%2Fy%3F%23%25", "PUT": "/?k=x%2Fy%3F%23%25&ttl=60"},
		"/kv?ttl={ttl}&k={key}&z=1": {"GET": "/kv?k=x%2Fy%3F%23%25&z=1", "PUT": "/kv?ttl=60&k=x%2Fy%3F%23%25&z=1"},
		"/{key}?ttl={ttl}":          {"GET": "/x%2Fy%3F%23%25", "PUT": "/x%2Fy%3F%23%25?ttl=60"},
	} {
		got := map[string]string{}
		s := newRecorder(t, func(r *http.Request) { got[r.Method] = r.RequestURI })
		b := open(t, s+template, &httpbackend.Options{PlainHTTP: true, PrivateNetwork: true})
		set(t, b, "x/y?#%", "v")
		if _, err := b.Get(t.Context(), "x/y?#%"); (err == nil) != strings.Contains(template, "{ttl}") {
			t.Errorf("%s: an empty answer = %v; framed, it is an error", template, err)
		}
		for method, target := range want {
			if got[method] != target {
				t.Errorf("%s: %s %s, want %s", template, method, got[method], target)
			}
		}
	}
}
