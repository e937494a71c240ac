package claims_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends/cachekitio"
	"github.com/cachekit-io/cachekit-go/backends/cachekitio/iotest"
	"github.com/cachekit-io/cachekit-go/backends/httpbackend"
	"github.com/cachekit-io/cachekit-go/backends/memorybackend"
	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/keys/keyfile"
	"github.com/cachekit-io/cachekit-go/secure"
)

// canary is in every secret of these tests: as text, and as the bytes of keys.
const canary = "canary4711canary4711canary4711ca"

// issued is the API key of the service under test, in lower case.
var issued = canary

// shows reports whether text holds the canary in any of the usual renderings of
// bytes.
func shows(text string) bool {
	raw := []byte(canary[:10])
	low := strings.ToLower(text)
	for shift := range 3 { // how base64 shows it depends on where it begins
		if form := base64.StdEncoding.EncodeToString([]byte(canary[shift : shift+9])); strings.Contains(low, strings.ToLower(form)) {
			return true
		}
	}
	for _, form := range []string{
		canary[:10], issued, fmt.Sprintf("%x", raw), strings.Trim(fmt.Sprint(raw[:6]), "[]"),
		strings.TrimSuffix(strings.TrimPrefix(strings.ToLower(fmt.Sprintf("%#v", raw[:6])), "[]byte{"), "}"),
	} {
		if strings.Contains(low, form) {
			return true
		}
	}
	return false
}

func TestShowsFindsEveryRendering(t *testing.T) {
	raw := []byte(canary)
	for _, format := range []string{"%v", "%d", "%s", "%q", "%x", "%X", "%#v"} {
		if !shows(fmt.Sprintf(format, raw)) {
			t.Errorf("bytes printed with %s go unnoticed", format)
		}
	}
	for _, before := range []string{"", "x", "xy"} {
		if !shows(base64.StdEncoding.EncodeToString([]byte(before + canary))) {
			t.Errorf("base64 at offset %d goes unnoticed", len(before))
		}
	}
}

// secretHolders are a value of every exported type that is given a secret.
func secretHolders(t *testing.T) map[string]any {
	t.Helper()
	master, err := keys.Raw([]byte(canary))
	check(t, err)
	ring, err := keys.NewKeyring(keys.Generate(), master)
	check(t, err)
	names, err := keys.ParseNameSecret(fmt.Sprintf("%x", canary))
	check(t, err)
	apiKey, err := cachekitio.ParseAPIKey("ck_sdk_" + canary)
	check(t, err)
	doc, err := keyfile.NewDocument(ring, "", time.Now())
	check(t, err)
	protection, err := keyfile.Passphrase([]byte(canary))
	check(t, err)
	proxy := &url.URL{Scheme: "http", User: url.UserPassword(canary, canary), Host: "127.0.0.1:1"}
	server := testenv.Redis(t, &testenv.RedisOptions{Password: canary})
	redis, err := redisbackend.Open(t.Context(), server.URL(), nil)
	check(t, err)
	t.Cleanup(func() { _ = redis.Close() })
	service, err := iotest.Start(nil)
	check(t, err)
	t.Cleanup(service.Close)
	issued = strings.ToLower(service.APIKey())
	io, err := cachekitio.Open(t.Context(), service.Options())
	check(t, err)
	t.Cleanup(func() { _ = io.Close() })
	site := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(site.Close)
	web, err := httpbackend.Open(t.Context(), site.URL+"/{key}", &httpbackend.Options{
		Credential: httpbackend.Bearer(canary), PlainHTTP: true, PrivateNetwork: true,
	})
	check(t, err)
	t.Cleanup(func() { _ = web.Close() })
	opts := secure.Options{
		MasterKey: master, KeyNameSecret: names, APIKey: apiKey,
		CachekitIO: &cachekitio.Options{APIKey: apiKey, Proxy: proxy}, Backend: memorybackend.New(nil),
	}
	sealed, err := secure.NewProduction(t.Context(), &secure.Options{MasterKey: master, Backend: opts.Backend, KeyNameSecret: names, Namespace: "n"})
	check(t, err)
	local, err := secure.NewProduction(t.Context(), &secure.Options{MasterKey: master, L1Only: true})
	check(t, err)
	for _, c := range []*secure.Cache{sealed, local} {
		t.Cleanup(func() { _ = c.Close() })
		check(t, c.Set(t.Context(), canary, canary))
		var got string
		_, err := c.Get(t.Context(), canary, &got)
		check(t, err)
	}
	return map[string]any{
		"master key": master, "keyring": ring, "name secret": names, "API key": apiKey, "document": doc, "protection": protection,
		"CachekitIO options": *opts.CachekitIO, "CachekitIO backend": io, "Redis backend": redis, "HTTP backend": web,
		"HTTP options": httpbackend.Options{Credential: httpbackend.Basic("u", canary), Proxy: proxy},
		"credential":   httpbackend.SecretHeader("X-Key", canary), "options": opts, "cache": sealed, "L1-only cache": local, "view": secure.For[string](sealed),
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Rule: no way of printing, logging or marshalling a value of this module shows
// a secret that it was given, nor a cache its keys and values.
func TestNothingPrintsASecret(t *testing.T) {
	for name, v := range secretHolders(t) {
		forms := []any{v, &v, []any{v}, map[string]any{"v": v}, struct{ V any }{v}}
		if p := reflect.ValueOf(v); p.Kind() == reflect.Pointer && !p.IsNil() {
			forms = append(forms, reflect.Indirect(p).Interface())
		} else {
			p := reflect.New(reflect.TypeOf(v))
			p.Elem().Set(reflect.ValueOf(v))
			forms = append(forms, p.Interface())
		}
		for i, form := range forms {
			for _, format := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x", "%q"} {
				if text := fmt.Sprintf(format, form); shows(text) {
					t.Errorf("%s, form %d, prints with %s: %s", name, i, format, text)
				}
			}
			var out bytes.Buffer
			slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", form)
			slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", form)
			text, _ := json.Marshal(form)
			if out.Write(text); shows(out.String()) {
				t.Errorf("%s, form %d, is logged as %s", name, i, out.String())
			}
		}
	}
}
