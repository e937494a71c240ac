package secure_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
	"github.com/cachekit-io/cachekit-go/secure"
)

func coherentOver(t *testing.T, url string) *secure.Cache {
	t.Helper()
	b, err := redisbackend.Open(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	c := coherent(t, b, nil)
	reporting(t, c)
	return c
}

func reporting(t *testing.T, c *secure.Cache) {
	t.Helper()
	testenv.Poll(t, 20*time.Second, "reports", func() bool { return c.Stats().Coherence.Up })
}

func becomes(t *testing.T, c *secure.Cache, key, want string) {
	t.Helper()
	testenv.Poll(t, 20*time.Second, "the new value", func() bool {
		var got string
		_, err := c.Get(t.Context(), key, &got)
		return err == nil && got == want
	})
}

// A write shows in the other process; one that falls into an outage of the
// reports shows when they are back.
func TestCoherentOverRedis(t *testing.T) {
	server := testenv.Redis(t, nil)
	proxy := testenv.Proxy(t, server.Addr())
	a, b := coherentOver(t, server.URL()), coherentOver(t, server.URLAt(proxy.Addr()))
	for i := range 20 {
		v := fmt.Sprint(i)
		put(t, a, "k", v)
		becomes(t, b, "k", v)
	}
	proxy.Cut()
	put(t, a, "k", "cut")
	becomes(t, b, "k", "cut")
	reporting(t, b)
	becomes(t, b, "k", "cut")
	proxy.StallReplies()
	testenv.Poll(t, 20*time.Second, "the black hole to be noticed", func() bool { return !b.Stats().Coherence.Up })
	put(t, a, "k", "stalled")
	proxy.Resume()
	reporting(t, b)
	see(t, b, "k", "stalled")
	if s := b.Stats().Coherence; s.Outages == 0 || s.Flushes == 0 || s.Down <= 0 {
		t.Errorf("%+v", s)
	}
}

// Three caches, one writer at a time: none goes back behind a version that it has
// served, and in the end all agree.
func TestCoherentVersions(t *testing.T) {
	server := testenv.Redis(t, nil)
	caches := []*secure.Cache{coherentOver(t, server.URL()), coherentOver(t, server.URL()), coherentOver(t, server.URL())}
	const keys = 20
	var written [keys]int
	var served [3][keys]int
	for i := range 10_000 {
		k, n := rand.IntN(keys), rand.IntN(3)
		key := fmt.Sprint(k)
		switch r := rand.IntN(20); {
		case r == 0:
			written[k] = i + 1
			if err := caches[n].Set(t.Context(), key, i+1); err != nil {
				t.Fatal(err)
			}
		case r == 1:
			if _, err := caches[n].Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
			written[k] = 0
		default:
			var got int
			found, err := caches[n].Get(t.Context(), key, &got)
			if err != nil || found && got < served[n][k] {
				t.Fatalf("cache %d went back from version %d to %d (%v)", n, served[n][k], got, err)
			}
			served[n][k] = max(served[n][k], got)
		}
	}
	for n, c := range caches {
		for k := range keys {
			testenv.Poll(t, 20*time.Second, "all caches to agree", func() bool {
				var got int
				_, err := c.Get(t.Context(), fmt.Sprint(k), &got)
				return err == nil && got == written[k]
			})
		}
		if s := c.Stats(); s.L1.Hits == 0 || !s.Coherence.Up || s.Coherence.Invalidations == 0 {
			t.Errorf("cache %d was not in step, or served nothing of its own: %+v", n, s)
		}
	}
}
