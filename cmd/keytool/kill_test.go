//go:build linux

package main

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/keys/keyfile"
)

// killed starts the tool and kills it at a random moment within limit. It
// reports whether the kill came before the tool's own end.
func (s *site) killed(limit time.Duration, args ...string) bool {
	s.t.Helper()
	cmd := command(s.t, s.dir, s.env, args...)
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	time.Sleep(rand.N(limit))
	_ = cmd.Process.Kill()
	return exitOf(s.t, cmd.Wait()) == -1
}

// Rule: re-encryption that is killed anywhere loses nothing, and running it again
// ends it.
func TestKilledReencrypt(t *testing.T) {
	s := newSite(t)
	fillSite(t, s)
	s.tool("rotate", "--step", "stage")
	s.tool("rotate", "--step", "promote", "--deployed-at", "now")
	kills := 0
	for range 8 {
		if s.killed(400*time.Millisecond, "reencrypt", "--apply", "--rate", "1000") {
			kills++
		}
		s.opens(t)
	}
	s.tool("reencrypt", "--apply")
	if out := s.tool("audit"); !regexp.MustCompile(`current +300 under`).MatchString(out) {
		t.Errorf("the audit afterwards: %s", out)
	}
	s.opens(t)
	t.Logf("%d of 8 runs were killed in the middle", kills)
	if kills == 0 {
		t.Error("no run was killed: this test saw nothing")
	}
}

// opens reads every entry.
func (s *site) opens(t *testing.T) {
	t.Helper()
	c, op, err := openSite(context.Background(), s.url, keyfile.Open(s.path(), s.open, &keyfile.Options{Watch: -1}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var st status
	for i := range siteEntries {
		if err := st.read(t.Context(), op, i); err != nil || st.Misses > 0 {
			t.Fatalf("entry %d: %v, %d misses", i, err, st.Misses)
		}
	}
}

// Rule: a step that is killed anywhere leaves the old keyring file or the new
// one, whole, and the next run goes on from there. So does every other file.
func TestKilledSteps(t *testing.T) {
	s := newSite(t)
	last, kills := uint64(1), 0
	for i := range 40 {
		args := []string{"rotate", "--step", "stage"}
		if d := s.read(t); d.Keys()[len(d.Keys())-1].Role == keyfile.Staged {
			args = []string{"rotate", "--step", "promote", "--deployed-at", "now"}
			if i%3 == 0 {
				args = []string{"keyring", "retire", d.Keys()[len(d.Keys())-1].ID}
			}
		} else if len(d.Keys()) > 1 && i%2 == 0 {
			args = []string{"rotate", "--compromise", "--yes"}
		}
		if s.killed(60*time.Millisecond, args...) {
			kills++
		}
		if g := s.read(t).Generation(); g < last {
			t.Fatalf("generation %d after %d", g, last)
		} else {
			last = g
		}
		s.killed(40*time.Millisecond, "generate", "-o", "key")
		if text, err := os.ReadFile(filepath.Join(s.dir, "key")); err == nil && len(strings.TrimSpace(string(text))) != 64 {
			t.Fatalf("half a key file: %d bytes", len(text))
		}
		_ = os.Remove(filepath.Join(s.dir, "key"))
	}
	s.tool("rotate", "--compromise", "--yes")
	for _, name := range []string{".ring.json[0-9]*"} {
		if left, _ := filepath.Glob(filepath.Join(s.dir, name)); len(left) > 0 {
			t.Errorf("killed writers left %v behind a later one", left)
		}
	}
	t.Logf("%d of 40 steps were killed, up to generation %d", kills, last)
	if kills == 0 || last < 2 {
		t.Error("this test saw too little")
	}
}

func (s *site) read(t *testing.T) *keyfile.Document {
	t.Helper()
	d, err := keyfile.Read(t.Context(), s.path(), s.open, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
