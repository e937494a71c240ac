//go:build linux

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/codec"
	"github.com/cachekit-io/cachekit-go/internal/peers"
	"github.com/cachekit-io/cachekit-go/keys/keyfile"
)

// exported returns the keyring as "keyring export" writes it for other SDKs.
func (s *site) exported() []string {
	s.t.Helper()
	file := filepath.Join(s.dir, "cachekit.env")
	defer os.Remove(file)
	s.tool("keyring", "export", "-o", file)
	text, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.Fields(string(text))
}

// Rule: a peer with the exported keyring in its environment reads through every
// phase, and what it writes is read here.
func TestPythonThroughRotation(t *testing.T) {
	s := newSite(t)
	rotateWith(t, s, func(env []string) (*peers.Store, error) {
		return peers.Python(t, env...).Open(peers.PythonStore{Redis: s.url, Encrypted: true, FailClosed: true})
	})
}

func rotateWith(t *testing.T, s *site, open func(env []string) (*peers.Store, error)) {
	c, op, err := openSite(t.Context(), s.url, keyfile.Open(s.path(), s.open, &keyfile.Options{Watch: 50 * time.Millisecond}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	set := func(i int) {
		t.Helper()
		if err := op.Set(t.Context(), key(i), i); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 {
		set(i)
	}
	deployed := ""
	steps := []func(){
		func() {},
		func() { s.tool("rotate", "--step", "stage") },
		func() {
			s.tool("rotate", "--step", "promote", "--deployed-at", "now")
			deployed = time.Now().UTC().Format(time.RFC3339Nano)
		},
		func() {
			s.tool("reencrypt", "--apply")
			s.tool("rotate", "--step", "retire", "--deployed-at", deployed, "--max-ttl", "1h", "--audit", s.audit())
		},
	}
	written := 10
	for phase, step := range steps {
		step()
		fresh := s.current()
		for c.Stats().Keys[0].Fingerprint.String() != fresh {
			time.Sleep(10 * time.Millisecond)
		}
		store, err := open(s.exported())
		if err != nil {
			t.Fatal(err)
		}
		set(written)
		if err := store.Set(peers.Op("users", "get_user", written+1), key(written+1), time.Hour); err != nil {
			t.Fatal(err)
		}
		written += 2
		for i := range written {
			want, _ := codec.Marshal(key(i))
			if got, found, err := store.Get(peers.Op("users", "get_user", i)); err != nil || !found || !bytes.Equal(got, want) {
				t.Errorf("phase %d: the peer reads entry %d as %x, %t, %v", phase, i, got, found, err)
			}
			var st status
			if err := st.read(t.Context(), op, i); err != nil || st.Misses > 0 {
				t.Errorf("phase %d: we read entry %d: %v, %d misses", phase, i, err, st.Misses)
			}
		}
	}
}
