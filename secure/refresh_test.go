package secure_test

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
	"github.com/cachekit-io/cachekit-go/secure"
)

// replacing is a locking fake that can swap with a new TTL.
type replacing struct{ *locking }

func (r replacing) Replace(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	if !bytes.Equal(r.raw(key), old) {
		return false, nil
	}
	return true, r.Set(ctx, key, new, ttl)
}

// A refresh writes only over the entry that it started from: a Set or Delete of
// another process that lands meanwhile stays. Its TTL is the full one.
func TestRefreshesLeaveNewerWritesAlone(t *testing.T) {
	for name, meanwhile := range map[string]func(context.Context, *secure.Cache) error{
		"nothing": func(context.Context, *secure.Cache) error { return nil },
		"a Set":   func(ctx context.Context, c *secure.Cache) error { return c.SetTTL(ctx, "k", "newer", 50*time.Second) },
		"a Delete": func(ctx context.Context, c *secure.Cache) error {
			_, err := c.Delete(ctx, "k")
			return err
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := &locking{fake: newFake(), until: map[string]time.Time{}}
			a := open(t, l.fake, func(o *secure.Options) { o.Backend = replacing{l} })
			b := open(t, l.fake, func(o *secure.Options) { o.Backend, o.NoL1 = replacing{l}, true })
			defer a.Close()
			defer b.Close()
			if err := a.Set(t.Context(), "k", "old"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(400 * time.Second)
			load := func(context.Context) (string, error) { time.Sleep(2 * time.Second); return "refreshed", nil }
			secure.For[string](a).GetOrLoad(t.Context(), "k", load) // refreshes in the background
			time.Sleep(time.Second)
			if err := meanwhile(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
			want := map[string]string{"nothing": "refreshed", "a Set": "newer", "a Delete": ""}[name]
			for which, c := range map[string]*secure.Cache{"the backend": b, "the copy": a} {
				var got string
				if _, err := c.Get(t.Context(), "k", &got); err != nil || got != want {
					t.Errorf("%s meanwhile: %s has %q, %v; want %q", name, which, got, err, want)
				}
			}
			if left := time.Until(l.values["k"].expires); name == "nothing" && left < 595*time.Second || name == "a Set" && left > 50*time.Second {
				t.Errorf("%s meanwhile: the entry lives for %v", name, left)
			}
			if s := a.Stats(); s.RefreshFailures+s.Absorbed != 0 {
				t.Errorf("%s meanwhile: counted as a failure: %+v", name, s)
			}
		})
	}
}

// The same on a real Redis, where the user may run scripts and where not.
func TestRefreshOverRedis(t *testing.T) {
	s := testenv.Redis(t, nil)
	for _, rule := range []string{"+@all", "-@scripting"} {
		s.Do("ACL", "SETUSER", "default", rule)
		b, err := redisbackend.Open(t.Context(), s.URL(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		c, err := secure.New(t.Context(), &secure.Options{Backend: b, MasterKey: key(t, "1"), TTL: 2 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Set(t.Context(), "k", "old"); err != nil {
			t.Fatal(err)
		}
		v, got := secure.For[string](c), ""
		for deadline := time.Now().Add(30 * time.Second); got != "new"; time.Sleep(10 * time.Millisecond) {
			if got, err = v.GetOrLoad(t.Context(), "k", func(context.Context) (string, error) { return "new", nil }); err != nil || time.Now().After(deadline) {
				t.Fatalf("%s: %q, %v", rule, got, err)
			}
		}
		if ttl, _ := s.Do("PTTL", "k").(int64); ttl < 1000 || ttl > 2000 {
			t.Errorf("%s: the refreshed entry lives for %d ms, want nearly 2000", rule, ttl)
		}
	}
}
