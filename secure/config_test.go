package secure_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/cachekitio"
	"github.com/cachekit-io/cachekit-go/backends/resilient"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/secure"
)

type constructor = func(context.Context, *secure.Options) (*secure.Cache, error)

// clean removes every variable of the chain for the test.
func clean(t *testing.T) {
	t.Helper()
	for _, name := range []string{"CACHEKIT_API_KEY", "CACHEKIT_REDIS_URL", "CACHEKIT_MEMCACHED_SERVERS", "CACHEKIT_FILE_CACHE_DIR",
		"CACHEKIT_API_URL", "CACHEKIT_TIMEOUT", "CACHEKIT_MAX_RETRIES", "CACHEKIT_CONNECTION_POOL_SIZE", "CACHEKIT_ALLOW_CUSTOM_HOST",
		"REDIS_URL", "CACHEKIT_MASTER_KEY", "CACHEKIT_PREVIOUS_MASTER_KEYS", "CACHEKIT_KEYRING"} {
		t.Setenv(name, "")
		os.Unsetenv(name)
	}
	secure.SetDefaultBackend(nil)
	t.Cleanup(func() { secure.SetDefaultBackend(nil) })
}

func TestOptionsThatContradictEachOther(t *testing.T) {
	clean(t)
	ring, err := keys.NewKeyring(key(t, "1"))
	if err != nil {
		t.Fatal(err)
	}
	full := func() *secure.Options { return &secure.Options{Backend: newFake(), MasterKey: key(t, "1")} }
	plain := func() *secure.Options { return &secure.Options{Backend: newFake(), Plaintext: true} }
	for _, tc := range []struct {
		rule   string
		build  constructor
		opts   *secure.Options
		change func(*secure.Options)
		says   string
	}{
		{"the secure profile never stores plaintext", secure.New, plain(), nil, "secure profile"},
		{"io without an API key", secure.NewIO, &secure.Options{MasterKey: key(t, "1")}, nil, "CACHEKIT_API_KEY"},
		{"an API key without io", secure.New, full(), func(o *secure.Options) { o.APIKey = someAPIKey(t) }, "NewIO"},
		{"settings of the service without io", secure.NewMinimal, full(), func(o *secure.Options) { o.CachekitIO = new(cachekitio.Options) }, "NewIO"},
		{"two API keys", secure.NewIO, &secure.Options{MasterKey: key(t, "1"), APIKey: someAPIKey(t), CachekitIO: &cachekitio.Options{APIKey: someAPIKey(t)}}, nil, "both"},
		{"a longer TTL than the service has", secure.NewIO, &secure.Options{MasterKey: key(t, "1"), APIKey: someAPIKey(t), TTL: 31 * 24 * time.Hour}, nil, "30 days"},
		{"a service in the private network", secure.NewIO, &secure.Options{MasterKey: key(t, "1"), APIKey: someAPIKey(t), CachekitIO: &cachekitio.Options{URL: "https://10.1.2.3", AllowCustomHost: true}}, nil, "private"},
		{"a key beside Plaintext", secure.NewMinimal, plain(), func(o *secure.Options) { o.MasterKey = key(t, "1") }, "Plaintext"},
		{"a keyring beside Plaintext", secure.NewProduction, plain(), func(o *secure.Options) { o.Keyring = ring }, "Plaintext"},
		{"random nonces without encryption", secure.NewMinimal, plain(), func(o *secure.Options) { o.RandomNonces = true }, "RandomNonces"},
		{"a tamper policy without encryption", secure.NewMinimal, plain(), func(o *secure.Options) { o.OnTamper = secure.Recompute }, "OnTamper"},
		{"a key and a keyring", secure.New, full(), func(o *secure.Options) { o.Keyring = ring }, "not both"},
		{"L1 only and no L1", secure.New, full(), func(o *secure.Options) { o.Backend, o.L1Only, o.NoL1 = nil, true, true }, "exclude"},
		{"L1 only and a backend", secure.New, full(), func(o *secure.Options) { o.L1Only = true }, "Backend"},
		{"a storage format without a storage", secure.New, full(), func(o *secure.Options) { o.Backend, o.L1Only, o.InteropV2 = nil, true, true }, "InteropV2"},
		{"a bound for no L1", secure.New, full(), func(o *secure.Options) { o.NoL1, o.L1Bytes = true, 1 }, "NoL1"},
		{"a copy's life for no L1", secure.New, full(), func(o *secure.Options) { o.NoL1, o.L1BackfillTTL = true, 1 }, "NoL1"},
		{"stale entries without L1", secure.New, full(), func(o *secure.Options) { o.NoL1, o.StaleWhileRevalidate = true, secure.On }, "NoL1"},
		{"a read copy's life where nothing is read", secure.New, full(), func(o *secure.Options) { o.Backend, o.L1Only, o.L1BackfillTTL = nil, true, 1 }, "L1BackfillTTL"},
		{"io with a backend", secure.NewIO, full(), nil, "own backend"},
		{"io in the process", secure.NewIO, full(), func(o *secure.Options) { o.Backend, o.L1Only = nil, true }, "service"},
		{"negative TTL", secure.New, full(), func(o *secure.Options) { o.TTL = -1 }, "Options.TTL is negative"},
		{"negative size", secure.New, full(), func(o *secure.Options) { o.L1Bytes = -1 }, "Options.L1Bytes is negative"},
		{"negative load timeout", secure.New, full(), func(o *secure.Options) { o.LoadTimeout = -time.Second }, "Options.LoadTimeout is negative"},
		{"no such switch", secure.New, full(), func(o *secure.Options) { o.StaleWhileRevalidate = 9 }, "StaleWhileRevalidate"},
		{"no such policy", secure.New, full(), func(o *secure.Options) { o.OnTamper = 9 }, "OnTamper"},
		{"no such switch", secure.New, full(), func(o *secure.Options) { o.Reliability = 9 }, "Reliability"},
		{"reliability without a backend", secure.New, full(), func(o *secure.Options) { o.Backend, o.L1Only, o.Reliability = nil, true, secure.On }, "Reliability"},
		{"its options without a backend", secure.New, full(), func(o *secure.Options) { o.Backend, o.L1Only, o.ReliabilityOptions = nil, true, failing }, "Reliability"},
		{"options of what is off", secure.New, full(), func(o *secure.Options) { o.Reliability, o.ReliabilityOptions = secure.Off, failing }, "Off"},
		{"options of what is wrapped", secure.New, full(), func(o *secure.Options) { o.Backend, o.ReliabilityOptions = wrapped(t), failing }, "Options.Backend"},
		{"bad options of the stack", secure.New, full(), func(o *secure.Options) { o.ReliabilityOptions = &resilient.Options{Attempts: -1} }, "negative"},
		{"a bad namespace", secure.New, full(), func(o *secure.Options) { o.Namespace = "Users" }, "Namespace"},
		{"a reserved namespace", secure.New, full(), func(o *secure.Options) { o.Namespace = "nsapi" }, "reserved"},
		{"a long tenant", secure.New, full(), func(o *secure.Options) { o.Tenant = strings.Repeat("x", 256) }, "Tenant"},
		{"no key", secure.New, full(), func(o *secure.Options) { o.MasterKey = keys.MasterKey{} }, "CACHEKIT_MASTER_KEY"},
		{"a nil keyring", secure.New, full(), func(o *secure.Options) { o.MasterKey, o.Keyring = keys.MasterKey{}, nilSource{} }, "Keyring"},
		{"no backend", secure.New, full(), func(o *secure.Options) { o.Backend = nil }, "CACHEKIT_REDIS_URL"},
		{"no options at all", secure.New, nil, nil, "CACHEKIT_MASTER_KEY"},
	} {
		if tc.change != nil {
			tc.change(tc.opts)
		}
		c, err := tc.build(t.Context(), tc.opts)
		if !errors.Is(err, secure.ErrConfig) || c != nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: got %v, want ErrConfig that mentions %q", tc.rule, err, tc.says)
		}
	}
}

func wrapped(t *testing.T) backends.Backend {
	b, err := resilient.New(newFake(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type nilSource struct{}

func (nilSource) Keyring(context.Context) (*keys.Keyring, error) { return nil, nil }

func TestResolution(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	const master = "CACHEKIT_MASTER_KEY"
	one := strings.Repeat("1", 64)
	memcached := testenv.Memcached(t, nil).Addr()
	for _, tc := range []struct {
		rule string
		env  map[string]string
		want string // BackendType, or part of the error
		ok   bool
	}{
		{"a directory", map[string]string{master: one, "CACHEKIT_FILE_CACHE_DIR": dir}, "file", true},
		{"a selector before REDIS_URL", map[string]string{master: one, "CACHEKIT_FILE_CACHE_DIR": dir, "REDIS_URL": "redis://127.0.0.1:1"}, "file", true},
		{"two selectors", map[string]string{master: one, "CACHEKIT_FILE_CACHE_DIR": dir, "CACHEKIT_REDIS_URL": "redis://127.0.0.1:1"}, "CACHEKIT_REDIS_URL and CACHEKIT_FILE_CACHE_DIR", false},
		{"three selectors", map[string]string{master: one, "CACHEKIT_API_KEY": "k", "CACHEKIT_MEMCACHED_SERVERS": "s", "CACHEKIT_REDIS_URL": "u"}, "CACHEKIT_API_KEY and CACHEKIT_REDIS_URL and CACHEKIT_MEMCACHED_SERVERS", false},
		{"an empty selector", map[string]string{master: one, "CACHEKIT_FILE_CACHE_DIR": ""}, "set but empty", false},
		{"an empty REDIS_URL", map[string]string{master: one, "REDIS_URL": " "}, "set but empty", false},
		{"memcached servers", map[string]string{master: one, "CACHEKIT_MEMCACHED_SERVERS": memcached}, "memcached", true},
		{"no memcached servers", map[string]string{master: one, "CACHEKIT_MEMCACHED_SERVERS": "127.0.0.1"}, "CACHEKIT_MEMCACHED_SERVERS: memcachedbackend: server 1 of 1 is not host:port", false},
		{"the service", map[string]string{master: one, "CACHEKIT_API_KEY": "ck_sdk_x", "CACHEKIT_API_URL": "https://192.168.0.1"}, "CACHEKIT_API_URL", false},
		{"a service elsewhere", map[string]string{master: one, "CACHEKIT_API_KEY": "ck_sdk_x", "CACHEKIT_API_URL": "https://cachekit.example"}, "Options.AllowCustomHost (CACHEKIT_ALLOW_CUSTOM_HOST) allows others", false},
		{"a key that is none", map[string]string{master: one, "CACHEKIT_API_KEY": "ck_sdk_x y"}, "secure: configuration: cachekitio: CACHEKIT_API_KEY: the API key is not", false},
		{"a timeout that is none", map[string]string{master: one, "CACHEKIT_API_KEY": "ck_sdk_x", "CACHEKIT_TIMEOUT": "soon"}, "CACHEKIT_TIMEOUT", false},
		{"no key", map[string]string{"CACHEKIT_FILE_CACHE_DIR": dir}, "CACHEKIT_MASTER_KEY", false},
		{"a bad key", map[string]string{master: "xyz", "CACHEKIT_FILE_CACHE_DIR": dir}, "not hex", false},
		{"an empty key", map[string]string{master: "", "CACHEKIT_FILE_CACHE_DIR": dir}, "CACHEKIT_MASTER_KEY", false},
		{"a keyring file without code", map[string]string{master: one, "CACHEKIT_KEYRING": "/x", "CACHEKIT_FILE_CACHE_DIR": dir}, "CACHEKIT_KEYRING", false},
		{"nothing", map[string]string{master: one}, "no backend", false},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			clean(t)
			for k, v := range tc.env {
				t.Setenv(k, v)
			}
			c, err := secure.New(t.Context(), nil)
			if tc.ok {
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if got := c.Health(t.Context()).BackendType; got != tc.want {
					t.Errorf("chose %s, want %s", got, tc.want)
				}
				return
			}
			if !errors.Is(err, secure.ErrConfig) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want ErrConfig that mentions %q", err, tc.want)
			}
		})
	}
}

func TestDefaultBackend(t *testing.T) {
	clean(t)
	f := newFake()
	secure.SetDefaultBackend(f)
	t.Setenv("CACHEKIT_REDIS_URL", "redis://127.0.0.1:1")
	t.Setenv("CACHEKIT_MASTER_KEY", strings.Repeat("1", 64))
	c, err := secure.New(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Health(t.Context()).BackendType; got != "fake" {
		t.Errorf("chose %s, want the default backend before the environment", got)
	}
	c.Close()
	if f.closed {
		t.Error("Close closed the default backend")
	}
}

// The environment's key is a source, never a switch, and Plaintext ignores it.
func TestKeyInTheEnvironmentIsNoSwitch(t *testing.T) {
	clean(t)
	t.Setenv("CACHEKIT_MASTER_KEY", "not even a key")
	c, err := secure.NewMinimal(t.Context(), &secure.Options{Backend: newFake(), Plaintext: true})
	if err != nil {
		t.Fatalf("Plaintext reads the key: %v", err)
	}
	c.Close()
	if _, err := secure.NewMinimal(t.Context(), &secure.Options{Backend: newFake()}); !errors.Is(err, keys.ErrEnvironment) {
		t.Errorf("got %v, want the complaint about the variable", err)
	}
}

func TestOptionsAreCopied(t *testing.T) {
	opts := &secure.Options{Backend: newFake(), MasterKey: key(t, "1"), Namespace: "a"}
	c, err := secure.New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f := opts.Backend.(*fake)
	*opts = secure.Options{}
	if err := c.Set(t.Context(), "k", 1); err != nil || len(f.raw("a:k")) == 0 {
		t.Errorf("changing the options changes the cache: %v", err)
	}
}
