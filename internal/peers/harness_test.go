package peers_test

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/filebackend"
	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/codec"
	"github.com/cachekit-io/cachekit-go/internal/peers"
	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/secure"
)

// masterKey returns the hex of the n-th of the master keys that the tests use.
func masterKey(n int) string { return strings.Repeat(string(rune('a'+n))+"5", 32) }

// keyring is a current key and its decrypt-only keys.
type keyring []int

// env returns the keyring as the family's variables.
func (k keyring) env() []string {
	env := []string{"CACHEKIT_MASTER_KEY=" + masterKey(k[0])}
	if len(k) > 1 {
		env = append(env, "CACHEKIT_PREVIOUS_MASTER_KEYS="+strings.Join(k.hex()[1:], ","))
	}
	return env
}

func (k keyring) hex() []string {
	text := make([]string, len(k))
	for i, n := range k {
		text[i] = masterKey(n)
	}
	return text
}

// ring returns the keyring as ours.
func (k keyring) ring(t testing.TB) *keys.Keyring {
	t.Helper()
	all := make([]keys.MasterKey, len(k))
	for i, text := range k.hex() {
		key, err := keys.Hex(text)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = key
	}
	ring, err := keys.NewKeyring(all[0], all[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// cache builds one of ours, without L1: what is tested is what the storage holds.
func cache(t testing.TB, b backends.Backend, k keyring, tenant, namespace string) *secure.Cache {
	t.Helper()
	c, err := secure.New(t.Context(), &secure.Options{
		Backend: b, Keyring: k.ring(t), Tenant: tenant, Namespace: namespace, NoL1: true,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func operation(t testing.TB, c *secure.Cache, namespace, name string) *secure.Op {
	t.Helper()
	op, err := c.Op(namespace, name)
	if err != nil {
		t.Fatal(err)
	}
	return op
}

func openRedis(t testing.TB, url string) *redisbackend.Backend {
	t.Helper()
	b, err := redisbackend.Open(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func openFiles(t testing.TB, dir string) *filebackend.Backend {
	t.Helper()
	b, err := filebackend.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func openStore(t testing.TB, p *peers.Peer, config any) *peers.Store {
	t.Helper()
	s, err := p.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// document is what value is to every SDK: its canonical MessagePack.
func document(t testing.TB, value any) []byte {
	t.Helper()
	doc, err := codec.Marshal(value)
	if err != nil {
		t.Fatalf("%#v: %v", value, err)
	}
	return doc
}

// peerReads fails unless the peer reads value under e.
func peerReads(t testing.TB, s *peers.Store, e peers.Entry, value any) {
	t.Helper()
	doc, found, err := s.Get(e)
	if want := document(t, value); err != nil || !found || !bytes.Equal(doc, want) {
		t.Fatalf("the peer reads found=%v, %v\n got %x\nwant %x\nfor %#v", found, err, doc, want, value)
	}
}

// getter reads into dst: Cache.Get or Op.Get with the entry filled in.
type getter func(ctx context.Context, dst any) (bool, error)

func byArgs(op *secure.Op, args ...any) getter {
	return func(ctx context.Context, dst any) (bool, error) { return op.Get(ctx, dst, args...) }
}

// weRead fails unless get finds value.
func weRead(t testing.TB, get getter, value any) {
	t.Helper()
	var got any
	found, err := get(t.Context(), &got)
	if err != nil || !found {
		t.Fatalf("we read found=%v, %v for %#v", found, err, value)
	}
	if got, want := document(t, got), document(t, value); !bytes.Equal(got, want) {
		t.Fatalf("we read\n got %x\nwant %x\nfor %#v", got, want, value)
	}
}

// cacheDir names a directory that does not exist yet; each SDK makes its own
// for its user alone.
func cacheDir(t testing.TB) string { return filepath.Join(t.TempDir(), "cache") }
