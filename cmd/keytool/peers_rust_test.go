//go:build linux && interop

package main

import (
	"testing"

	"github.com/cachekit-io/cachekit-go/internal/peers"
)

func TestRustThroughRotation(t *testing.T) {
	s := newSite(t)
	rotateWith(t, s, func(env []string) (*peers.Store, error) {
		return peers.Rust(t, env...).Open(peers.RustStore{Redis: s.url, Env: true})
	})
}
