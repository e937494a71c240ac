//go:build interop

package peers_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/peers"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
	"github.com/cachekit-io/cachekit-go/secure"
)

func TestRustKeys(t *testing.T) { compareKeys(t, peers.Rust(t)) }

// BenchmarkRust is BenchmarkPython for the Rust SDK.
func BenchmarkRust(b *testing.B) { compare(b, peers.MeasureRust) }

func TestRustValues(t *testing.T) {
	rs := peers.Rust(t)
	redis, dir := testenv.Redis(t, nil), cacheDir(t)
	t.Run("redis", func(t *testing.T) {
		exchange(t, cache(t, openRedis(t, redis.URL()), keyring{0}, "acme", ""),
			openStore(t, rs, peers.RustStore{Redis: redis.URL(), Key: masterKey(0), Tenant: "acme"}))
	})
	t.Run("file", func(t *testing.T) {
		exchange(t, cache(t, openFiles(t, dir), keyring{0}, "", ""), openStore(t, rs, peers.RustStore{File: dir, Key: masterKey(0)}))
	})
	t.Run("plaintext", func(t *testing.T) {
		redis := testenv.Redis(t, nil)
		c, err := secure.NewProduction(t.Context(), &secure.Options{Backend: openRedis(t, redis.URL()), Plaintext: true, NoL1: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		exchange(t, c, openStore(t, rs, peers.RustStore{Redis: redis.URL()}))
	})
}

func TestRustRotation(t *testing.T) {
	redis, rs := testenv.Redis(t, nil), peers.Rust(t)
	rotate(t, openRedis(t, redis.URL()), "Encryption", func(ring keyring) *peers.Store {
		all := ring.hex()
		return openStore(t, rs, peers.RustStore{Redis: redis.URL(), Key: all[0], Previous: all[1:]})
	})
}

func TestRustFilesRotation(t *testing.T) {
	dir, rs := cacheDir(t), peers.Rust(t)
	rotate(t, openFiles(t, dir), "Encryption", func(ring keyring) *peers.Store {
		all := ring.hex()
		return openStore(t, rs, peers.RustStore{File: dir, Key: all[0], Previous: all[1:]})
	})
}

func TestRustMemcached(t *testing.T) {
	server, rs := testenv.Memcached(t, nil), peers.Rust(t)
	exchange(t, cache(t, openMemcached(t, server.Addr()), keyring{0}, "acme", ""),
		openStore(t, rs, peers.RustStore{Memcached: []string{server.Addr()}, Key: masterKey(0), Tenant: "acme"}))
	rotate(t, openMemcached(t, server.Addr()), "Encryption", func(ring keyring) *peers.Store {
		all := ring.hex()
		return openStore(t, rs, peers.RustStore{Memcached: []string{server.Addr()}, Key: all[0], Previous: all[1:]})
	})
}

func TestRustCachekitIO(t *testing.T) {
	s, env := service(t)
	store := openStore(t, peers.Rust(t, env...), peers.RustStore{APIKey: s.APIKey(), Key: masterKey(0)})
	useService(t, s, store, "cachekitio")
}

func TestRustCachekitIOValues(t *testing.T) {
	s, env := service(t)
	rs := peers.Rust(t, env...)
	b := openCachekitIO(t, s)
	store := openStore(t, rs, peers.RustStore{APIKey: s.APIKey(), Key: masterKey(0), Tenant: "acme"})
	exchange(t, cache(t, b, keyring{0}, "acme", ""), store)
	bothVersions(t, s)
	shareLocks(t, b, store)
	rotate(t, b, "Encryption", func(ring keyring) *peers.Store {
		all := ring.hex()
		return openStore(t, rs, peers.RustStore{APIKey: s.APIKey(), Key: all[0], Previous: all[1:]})
	})
}

// TestRustPreviousKeys: Rust, with its keyring from the environment, counts a read
// of what we sealed under each of the keys that it keeps.
func TestRustPreviousKeys(t *testing.T) {
	redis := testenv.Redis(t, nil)
	ring := keyring{3, 2, 1, 0}
	store := openStore(t, peers.Rust(t, ring.env()...), peers.RustStore{Redis: redis.URL(), Env: true})
	b := openRedis(t, redis.URL())
	for _, key := range ring {
		if err := cache(t, b, keyring{key}, "", "").Set(t.Context(), fmt.Sprint(key), key); err != nil {
			t.Fatal(err)
		}
		peerReads(t, store, peers.Key(fmt.Sprint(key)), key)
	}
	stats, err := store.Stats()
	if err != nil || !slices.Equal(stats.PreviousKeyHits, []uint64{1, 1, 1}) {
		t.Errorf("got %v, %v, want one read of each previous key", stats, err)
	}
}

// TestRustTenants: each tenant reads its own entries and no other's, both ways.
func TestRustTenants(t *testing.T) {
	redis, rs := testenv.Redis(t, nil), peers.Rust(t)
	b := openRedis(t, redis.URL())
	tenants := []string{"default", "acme", "Acme", "acme ", "naïve/漢字:1", strings.Repeat("t", 255)}
	key := peers.Key("shared")
	for _, theirs := range tenants {
		store := openStore(t, rs, peers.RustStore{Redis: redis.URL(), Key: masterKey(0), Tenant: theirs})
		for _, ours := range tenants {
			c := cache(t, b, keyring{0}, ours, "")
			if err := c.Set(t.Context(), "shared", ours); err != nil {
				t.Fatal(err)
			}
			if ours == theirs {
				peerReads(t, store, key, ours)
			} else {
				var refusal *peers.Error
				if _, _, err := store.Get(key); !errors.As(err, &refusal) || refusal.Type != "Encryption" {
					t.Errorf("tenant %.20q of Rust reads tenant %.20q of ours: %v", theirs, ours, err)
				}
			}
			if err := store.Set(key, theirs, time.Minute); err != nil {
				t.Fatal(err)
			}
			if ours == theirs {
				weRead(t, byKey(c, "shared"), theirs)
			} else if _, err := c.Get(t.Context(), "shared", new(any)); !errors.Is(err, secure.ErrAuth) {
				t.Errorf("tenant %.20q of ours reads tenant %.20q of Rust: %v", ours, theirs, err)
			}
		}
	}
}

// TestRustNamespaces: "namespace:key" is one entry, whether a builder's namespace
// or the caller puts the namespace there; an entry moved to another does not open.
func TestRustNamespaces(t *testing.T) {
	rs := peers.Rust(t)
	redis, dir := testenv.Redis(t, nil), cacheDir(t)
	b := openRedis(t, redis.URL())
	t.Run("redis", func(t *testing.T) {
		store := func(namespace string) *peers.Store {
			return openStore(t, rs, peers.RustStore{Redis: redis.URL(), Key: masterKey(0), Tenant: "acme", Namespace: namespace})
		}
		namespaces(t, store, func(namespace string) *secure.Cache { return cache(t, b, keyring{0}, "acme", namespace) })
	})
	t.Run("file", func(t *testing.T) {
		files := openFiles(t, dir)
		store := func(namespace string) *peers.Store {
			return openStore(t, rs, peers.RustStore{File: dir, Key: masterKey(0), Tenant: "acme", Namespace: namespace})
		}
		namespaces(t, store, func(namespace string) *secure.Cache { return cache(t, files, keyring{0}, "acme", namespace) })
	})
	t.Run("moved", func(t *testing.T) {
		store := openStore(t, rs, peers.RustStore{Redis: redis.URL(), Key: masterKey(0), Tenant: "acme", Namespace: "app"})
		if err := store.Set(peers.Key("moved"), 1, time.Minute); err != nil {
			t.Fatal(err)
		}
		redis.Do("RENAME", "app:moved", "web:moved")
		if _, err := cache(t, b, keyring{0}, "acme", "web").Get(t.Context(), "moved", new(any)); !errors.Is(err, secure.ErrAuth) {
			t.Errorf("an entry moved to another namespace: %v, want ErrAuth", err)
		}
	})
}

func namespaces(t *testing.T, store func(string) *peers.Store, c func(string) *secure.Cache) {
	theirs, theirsBare := store("app"), store("")
	ours, oursBare := c("app"), c("")
	g := newGenerator(t)
	for i := range 40 {
		key := fmt.Sprint(i, g.key())
		if err := ours.Set(t.Context(), key, i); err != nil {
			t.Fatalf("%q: %v", key, err)
		}
		peerReads(t, theirs, peers.Key(key), i)
		peerReads(t, theirsBare, peers.Key("app:"+key), i)
		if err := theirs.Set(peers.Key(key), i+1, time.Minute); err != nil {
			t.Fatalf("%q: %v", key, err)
		}
		weRead(t, byKey(ours, key), i+1)
		weRead(t, byKey(oursBare, "app:"+key), i+1)
		if err := theirsBare.Set(peers.Key("app:"+key), i+2, time.Minute); err != nil {
			t.Fatalf("%q: %v", key, err)
		}
		weRead(t, byKey(ours, key), i+2)
		if err := theirs.Delete(peers.Key(key)); err != nil {
			t.Fatal(err)
		}
		if found, err := ours.Get(t.Context(), key, new(any)); found || err != nil {
			t.Fatalf("%q: after Rust's delete we read found=%v, %v", key, found, err)
		}
	}
	var refusal *peers.Error
	if _, _, err := theirs.Get(peers.Op("users", "get_user", 1)); !errors.As(err, &refusal) || refusal.Type != "Config" {
		t.Errorf("Rust reads an operation's entry on a client with a namespace: %v", err)
	}
}

func byKey(c *secure.Cache, key string) getter {
	return func(ctx context.Context, dst any) (bool, error) { return c.Get(ctx, key, dst) }
}
