package claims_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/cachekitio"
	"github.com/cachekit-io/cachekit-go/backends/cachekitio/iotest"
	"github.com/cachekit-io/cachekit-go/backends/dynamodbbackend"
	"github.com/cachekit-io/cachekit-go/backends/filebackend"
	"github.com/cachekit-io/cachekit-go/backends/httpbackend"
	"github.com/cachekit-io/cachekit-go/backends/memcachedbackend"
	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/secure"
)

// storage is a backend and every byte that it has been sent.
type storage struct {
	backend backends.Backend
	sent    func() []byte
}

// storages are all backends, each behind a proxy that records, or with what it
// wrote to its disk.
func storages(t *testing.T) map[string]storage {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "cache")
	files, err := filebackend.Open(dir, nil)
	check(t, err)
	redisServer := testenv.Redis(t, nil)
	redisWire := testenv.Proxy(t, redisServer.Addr())
	redis, err := redisbackend.Open(t.Context(), redisServer.URLAt(redisWire.Addr()), nil)
	check(t, err)
	memWire := testenv.Proxy(t, testenv.Memcached(t, nil).Addr())
	mem, err := memcachedbackend.Open(t.Context(), memWire.Addr(), nil)
	check(t, err)
	webWire := testenv.Proxy(t, testenv.Nginx(t, nil).Addr())
	web, err := httpbackend.Open(t.Context(), "http://"+webWire.Addr()+"/{key}", &httpbackend.Options{PlainHTTP: true, PrivateNetwork: true, StoreExpires: true})
	check(t, err)
	all := map[string]storage{
		"file":  {files, func() []byte { return diskOf(t, dir) }},
		"redis": {redis, redisWire.Sent}, "memcached": {mem, memWire.Sent}, "http": {web, webWire.Sent},
		"dynamodb": dynamo(t),
	}
	for _, s := range all {
		t.Cleanup(func() { _ = s.backend.Close() })
	}
	return all
}

func diskOf(t *testing.T, dir string) (all []byte) {
	t.Helper()
	check(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		all = append(append(all, d.Name()...), text...)
		return err
	}))
	return all
}

func dynamo(t *testing.T) storage {
	t.Helper()
	wire := testenv.Proxy(t, testenv.DynamoDB(t).Addr())
	client := dynamodb.New(dynamodb.Options{
		Region: "eu-central-1", BaseEndpoint: new("http://" + wire.Addr()), Credentials: credentials.NewStaticCredentialsProvider("AKIDLOCAL", "local", ""),
		HTTPClient: &http.Client{Transport: &http.Transport{DialContext: new(net.Dialer).DialContext}}, RetryMaxAttempts: 1,
	})
	check(t, dynamodbbackend.EnsureTable(t.Context(), client, "claims", nil))
	b, err := dynamodbbackend.New(client, "claims", nil)
	check(t, err)
	return storage{b, wire.Sent}
}

// profiles are the constructors over a backend that is passed in.
var profiles = map[string]func(context.Context, *secure.Options) (*secure.Cache, error){
	"secure": secure.New, "production": secure.NewProduction, "minimal": secure.NewMinimal,
}

// variants are the options that change what is written.
var variants = map[string]func(*secure.Options){
	"defaults":      func(*secure.Options) {},
	"hidden keys":   func(o *secure.Options) { o.KeyNameSecret = nameSecret() },
	"no L1":         func(o *secure.Options) { o.NoL1 = true },
	"interop v2":    func(o *secure.Options) { o.InteropV2 = true },
	"random nonces": func(o *secure.Options) { o.RandomNonces = true },
	"tenant":        func(o *secure.Options) { o.Tenant = "acme" },
}

func nameSecret() keys.NameSecret {
	s, err := keys.ParseNameSecret(strings.Repeat("5a", 32))
	if err != nil {
		panic(err)
	}
	return s
}

// Rule: no byte that any backend is sent, nor any log line or error, holds a
// value or a key; storage keys alone are legible, unless they are hidden.
func TestNoBackendIsSentAValue(t *testing.T) {
	for name, s := range storages(t) {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			for profile, build := range profiles {
				for variant, change := range variants {
					before := len(s.sent())
					o := secure.Options{Backend: s.backend, Namespace: "n", Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
					o.MasterKey, _ = keys.Raw([]byte(canary))
					change(&o)
					c, err := build(t.Context(), &o)
					check(t, err)
					exercise(t, c, fmt.Sprintf("name-%s-%s", profile, strings.ReplaceAll(variant, " ", "-")))
					check(t, c.Close())
					sent := s.sent()
					if len(sent) == before && name != "file" {
						t.Errorf("%s, %s: the spy saw nothing", profile, variant)
					}
					if shows(string(sent)) {
						t.Errorf("%s, %s: a value is legible on the wire", profile, variant)
					}
					if hidden := "name-" + profile + "-hidden-keys"; bytes.Contains(sent, []byte(hidden)) {
						t.Errorf("%s, %s: a hidden key is legible", profile, variant)
					}
				}
			}
			plain, err := secure.NewProduction(t.Context(), &secure.Options{Backend: s.backend, Namespace: "n", Plaintext: true})
			check(t, err)
			check(t, plain.Set(t.Context(), "plain", canary))
			check(t, plain.Close())
			if !shows(string(s.sent())) {
				t.Error("the spy is blind: it does not see a value that is not encrypted")
			}
			if shows(log.String()) || strings.Contains(log.String(), "name-") {
				t.Errorf("the log shows a key or a value:\n%s", log.String())
			}
		})
	}
}

// exercise writes values that hold the canary in every way there is.
func exercise(t *testing.T, c *secure.Cache, key string) {
	t.Helper()
	ctx, v := t.Context(), secure.For[map[string]string](c)
	value := map[string]string{canary: strings.Repeat(canary, 40)}
	check(t, c.Set(ctx, key, value))
	check(t, c.SetTTL(ctx, key, value, time.Minute))
	check(t, v.SetMany(ctx, map[string]map[string]string{key + "1": value, key + "2": value}))
	load := func(context.Context) (map[string]string, error) { return value, nil }
	got, err := v.GetOrLoad(ctx, key+"3", load)
	check(t, err)
	if got[canary] != value[canary] {
		t.Fatal("the value does not come back")
	}
	_, err = v.GetMany(ctx, []string{key, key + "1", "missing"})
	check(t, err)
	var wrong int
	if _, err := c.Get(ctx, key, &wrong); err == nil || shows(err.Error()) || strings.Contains(err.Error(), key) {
		t.Errorf("a read into another type: %v", err)
	}
	if err := c.Set(ctx, key, map[string]any{canary: make(chan int)}); err == nil || shows(err.Error()) {
		t.Errorf("a value that cannot be stored: %v", err)
	}
	_, err = c.Delete(ctx, key+"1")
	check(t, err)
}

// The service speaks TLS only: what it has recorded of the requests, and what it
// returns for the bare keys, stand for the wire.
func TestNoServiceIsSentAValue(t *testing.T) {
	server, err := iotest.Start(nil)
	check(t, err)
	defer server.Close()
	master, err := keys.Raw([]byte(canary))
	check(t, err)
	o := secure.Options{CachekitIO: server.Options(), MasterKey: master, Namespace: "n"}
	c, err := secure.NewIO(t.Context(), &o)
	check(t, err)
	exercise(t, c, "name")
	check(t, c.Close())
	b, err := cachekitio.Open(t.Context(), server.Options())
	check(t, err)
	defer b.Close()
	for _, key := range []string{"n:name", "n:name2", "n:name3"} {
		if stored, err := b.Get(t.Context(), key); err != nil || len(stored) < 28 || shows(string(stored)) {
			t.Errorf("%d bytes are stored, %v; or a value is legible", len(stored), err)
		}
	}
	requests := server.Requests()
	if len(requests) < 5 {
		t.Fatalf("%d requests were recorded", len(requests))
	}
	if text := fmt.Sprintf("%v %+q", requests, requests); shows(text) {
		t.Error("a request shows a value")
	}
}
