package peers_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/cachekitio"
	"github.com/cachekit-io/cachekit-go/backends/cachekitio/iotest"
	"github.com/cachekit-io/cachekit-go/codec/interop"
	"github.com/cachekit-io/cachekit-go/internal/peers"
)

// service starts a CachekitIO server and returns the variables by which a peer
// finds it: the peers take neither a root nor a dialer.
func service(t testing.TB) (s *iotest.Server, env []string) {
	t.Helper()
	s, err := iotest.Start(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	proxy, err := s.Proxy()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(t.TempDir(), "root.pem")
	if err := os.WriteFile(root, s.RootPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return s, []string{"SSL_CERT_FILE=" + root, "HTTPS_PROXY=" + proxy, "https_proxy=" + proxy, "NO_PROXY=", "no_proxy="}
}

func TestPythonCachekitIO(t *testing.T) {
	s, env := service(t)
	py := peers.Python(t, append(env, keyring{0}.env()...)...)
	useService(t, s, openStore(t, py, peers.PythonStore{APIKey: s.APIKey(), Encrypted: true, FailClosed: true}), "saas")
}

// useService drives every call of a peer's client for CachekitIO.
func useService(t *testing.T, s *iotest.Server, store *peers.Store, backendType string) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	e := peers.Op("users", "get_user", 1)
	key := interopKey(t, "users", "get_user", 1)
	exists := func(want bool) {
		t.Helper()
		if got, err := store.Exists(key); got != want || err != nil {
			t.Fatalf("exists: %v, %v, want %v", got, err, want)
		}
	}
	exists(false)
	must(store.Set(e, "the value", time.Minute))
	exists(true)
	peerReads(t, store, e, "the value")

	if left, err := store.TTL(key); left <= 50*time.Second || left > time.Minute || err != nil {
		t.Errorf("ttl: %v, %v, want a minute", left, err)
	}
	if done, err := store.Touch(key, time.Hour); !done || err != nil {
		t.Errorf("touch: %v, %v", done, err)
	}
	if left, err := store.TTL(key); left <= 59*time.Minute || left > time.Hour || err != nil {
		t.Errorf("ttl after touch: %v, %v, want an hour", left, err)
	}
	s.Advance(time.Hour)
	exists(false)
	if _, found, err := store.Get(e); found || err != nil {
		t.Errorf("after its TTL: found=%v, %v", found, err)
	}
	if left, err := store.TTL("absent"); left != 0 || err != nil {
		t.Errorf("ttl of nothing: %v, %v", left, err)
	}

	must(store.Set(e, "the value", time.Minute))
	must(store.Delete(e))
	exists(false)
	must(store.Delete(e))

	locks(t, s, store)
	if healthy, kind, err := store.Health(); !healthy || kind != backendType || err != nil {
		t.Errorf("health: %v, %q, %v", healthy, kind, err)
	}
	for _, r := range s.Requests() {
		if r.Proto != "HTTP/1.1" || r.Endpoint == "" || r.Header.Get("X-CacheKit-L1-Status") == "" {
			t.Errorf("%s %s of %q by %s, L1 status %q", r.Method, r.Endpoint, r.Key, r.Proto, r.Header.Get("X-CacheKit-L1-Status"))
		}
	}
}

func locks(t *testing.T, s *iotest.Server, store *peers.Store) {
	lock := func(want bool) {
		t.Helper()
		if held, err := store.Lock("k", time.Minute); held != want || err != nil {
			t.Fatalf("lock: %v, %v, want %v", held, err, want)
		}
	}
	lock(true)
	lock(false)
	if err := store.Unlock("k"); err != nil {
		t.Fatal(err)
	}
	lock(true)
	s.Advance(time.Minute)
	lock(true)
}

// TestServerKeepsWhatPythonSends: byte for byte, with the TTL that was asked for.
func TestServerKeepsWhatPythonSends(t *testing.T) {
	s, env := service(t)
	store := openStore(t, peers.Python(t, env...), peers.PythonStore{APIKey: s.APIKey()})
	for _, value := range [][]byte{{}, {0}, bytes.Repeat([]byte{0xff, 0, '\r', '\n'}, 1<<18)} {
		if err := store.RawSet("a:b.c_d-e", value, 0); err != nil {
			t.Fatal(err)
		}
		if got, found, err := store.RawGet("a:b.c_d-e"); !found || err != nil || !bytes.Equal(got, value) {
			t.Errorf("%d bytes come back as %d, found=%v, %v", len(value), len(got), found, err)
		}
	}
	if left, err := store.TTL("a:b.c_d-e"); left != 0 || err != nil {
		t.Errorf("ttl of an entry without expiry: %v, %v", left, err)
	}
	sent := s.Requests()
	if !slices.ContainsFunc(sent, func(r iotest.Request) bool { return r.Method == "PUT" && r.Key == "a:b.c_d-e" }) {
		t.Error("the requests do not show the key")
	}
}

// TestPythonCachekitIOKeys: a key that the service cannot hold arrives there as one
// key and is refused, or is not sent at all; none reaches another route.
func TestPythonCachekitIOKeys(t *testing.T) {
	s, env := service(t)
	store := openStore(t, peers.Python(t, env...), peers.PythonStore{APIKey: s.APIKey()})
	for _, key := range []string{"a/b", "../../admin", "x/../../health", "k?x=1#f", "a b", "100%", "%2e%2e", "a..b", "café", strings.Repeat("k", 401), "ns:a.b:c"} {
		before := len(s.Requests())
		var refusal *peers.Error
		if err := store.RawSet(key, []byte("x"), 0); !errors.As(err, &refusal) {
			t.Errorf("%q: %v, want a refusal", key, err)
		}
		if sent := s.Requests()[before:]; len(sent) != 1 || sent[0].Endpoint != "value" || sent[0].Key != key {
			t.Errorf("%q arrives as %+v", key, sent)
		}
	}
	for _, key := range []string{".", "..", "health", "ttl", "lock"} {
		before := len(s.Requests())
		if err := store.RawSet(key, []byte("x"), 0); err == nil || len(s.Requests()) != before {
			t.Errorf("%q: %v, and %d requests", key, err, len(s.Requests())-before)
		}
	}
}

// interopKey is the storage key of an operation's entry.
func interopKey(t testing.TB, namespace, operation string, args ...any) string {
	t.Helper()
	key, err := interop.Key(namespace, operation, args...)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func openCachekitIO(t testing.TB, s *iotest.Server) *cachekitio.Backend {
	t.Helper()
	b, err := cachekitio.Open(t.Context(), s.Options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestPythonCachekitIOValues(t *testing.T) {
	s, env := service(t)
	py := peers.Python(t, append(env, keyring{0}.env()...)...)
	store := openStore(t, py, peers.PythonStore{APIKey: s.APIKey(), Encrypted: true, FailClosed: true})
	exchange(t, cache(t, openCachekitIO(t, s), keyring{0}, "", ""), store)
	bothVersions(t, s)
}

func TestPythonCachekitIORotation(t *testing.T) {
	s, env := service(t)
	rotate(t, openCachekitIO(t, s), "DecryptionAuthenticationError", func(ring keyring) *peers.Store {
		py := peers.Python(t, append(env, ring.env()...)...)
		return openStore(t, py, peers.PythonStore{APIKey: s.APIKey(), Encrypted: true, FailClosed: true})
	})
}

// TestPythonCachekitIOLocks: a lock excludes the other side, and its release is
// seen there.
func TestPythonCachekitIOLocks(t *testing.T) {
	s, env := service(t)
	shareLocks(t, openCachekitIO(t, s), openStore(t, peers.Python(t, env...), peers.PythonStore{APIKey: s.APIKey()}))
}

func shareLocks(t *testing.T, b *cachekitio.Backend, store *peers.Store) {
	t.Helper()
	token, err := b.Lock(t.Context(), "k", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if held, err := store.Lock("k", time.Minute); held || err != nil {
		t.Fatalf("the peer takes our lock: %v, %v", held, err)
	}
	if _, err := b.Unlock(t.Context(), "k", token); err != nil {
		t.Fatal(err)
	}
	if held, err := store.Lock("k", time.Minute); !held || err != nil {
		t.Fatalf("the peer takes a lock that we released: %v, %v", held, err)
	}
	if _, err := b.Lock(t.Context(), "k", time.Minute); !errors.Is(err, backends.ErrLocked) {
		t.Fatalf("we take the peer's lock: %v", err)
	}
	if err := store.Unlock("k"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Lock(t.Context(), "k", time.Minute); err != nil {
		t.Fatalf("we take a lock that the peer released: %v", err)
	}
}

// bothVersions fails unless the server heard ours over HTTP/2 and a peer over
// HTTP/1.1.
func bothVersions(t *testing.T, s *iotest.Server) {
	t.Helper()
	heard := map[string]int{}
	for _, r := range s.Requests() {
		heard[r.Proto]++
	}
	if heard["HTTP/2.0"] == 0 || heard["HTTP/1.1"] == 0 || len(heard) != 2 {
		t.Errorf("requests by version: %v", heard)
	}
}
