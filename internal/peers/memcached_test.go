package peers_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/memcachedbackend"
	"github.com/cachekit-io/cachekit-go/internal/peers"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

func openMemcached(t testing.TB, servers string) *memcachedbackend.Backend {
	t.Helper()
	b, err := memcachedbackend.Open(t.Context(), servers, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestPythonMemcached(t *testing.T) {
	server := testenv.Memcached(t, nil)
	py := peers.Python(t, keyring{0}.env()...)
	exchange(t, cache(t, openMemcached(t, server.Addr()), keyring{0}, "", ""),
		openStore(t, py, peers.PythonStore{Memcached: []string{server.Addr()}, Encrypted: true}))
}

func TestPythonMemcachedRotation(t *testing.T) {
	server := testenv.Memcached(t, nil)
	rotate(t, openMemcached(t, server.Addr()), "DecryptionAuthenticationError", func(ring keyring) *peers.Store {
		py := peers.Python(t, ring.env()...)
		return openStore(t, py, peers.PythonStore{Memcached: []string{server.Addr()}, Encrypted: true, FailClosed: true})
	})
}

// TestPythonMemcachedServers: of several servers both look for a key on the same
// one, in whatever order they are named.
func TestPythonMemcachedServers(t *testing.T) {
	var all []string
	for range 3 {
		all = append(all, testenv.Memcached(t, nil).Addr())
	}
	b := openMemcached(t, all[0]+","+all[1]+","+all[2])
	store := openStore(t, peers.Python(t), peers.PythonStore{Memcached: []string{all[2], all[0], all[1]}})
	for i := range 60 {
		key, value := fmt.Sprint("users:", i), []byte(fmt.Sprint("value ", i))
		if err := b.Set(t.Context(), key, value, time.Minute); err != nil {
			t.Fatal(err)
		}
		if got, found, err := store.RawGet(key); !found || err != nil || !bytes.Equal(got, value) {
			t.Fatalf("Python reads %q, found=%v, %v, want %q", got, found, err, value)
		}
		if existed, err := store.RawDelete(key); !existed || err != nil {
			t.Fatalf("Python deletes, existed=%v, %v", existed, err)
		}
		if _, err := b.Get(t.Context(), key); !errors.Is(err, backends.ErrNotFound) {
			t.Fatalf("after Python's delete: %v, want ErrNotFound", err)
		}
		if err := store.RawSet(key, value, time.Minute); err != nil {
			t.Fatal(err)
		}
		if got, err := b.Get(t.Context(), key); err != nil || !bytes.Equal(got, value) {
			t.Fatalf("we read %q, %v, want %q", got, err, value)
		}
	}
}
