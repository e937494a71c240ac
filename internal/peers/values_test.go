package peers_test

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/codec"
	"github.com/cachekit-io/cachekit-go/internal/peers"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
	"github.com/cachekit-io/cachekit-go/secure"
)

// values are shapes that an SDK could get wrong.
func values() map[string]any {
	nested := any(map[string]any{"in": "core"})
	for range 95 {
		nested = []any{nested}
	}
	return map[string]any{
		"nil": nil, "true": true, "zero": 0, "smallest integer": int64(math.MinInt64), "largest integer": uint64(math.MaxUint64),
		"float of an integer": 2.0, "negative zero": math.Copysign(0, -1), "smallest float": 5e-324, "largest float": math.MaxFloat64,
		"empty string": "", "unicode": "naïve 漢字 \U0001f9c1 \u0000\ufeff", "long string": strings.Repeat("é", 40_000),
		"empty bytes": []byte{}, "bytes": []byte{0, 0xff, 'C', 'K'}, "long bytes": make([]byte, 70_000),
		"starts like a frame": []byte("CK\x03"), "67": 67,
		"empty list": []any{}, "empty map": map[string]any{}, "nested": nested,
		"keys in order of bytes": map[string]any{"b": 1, "a": 2, "B": 3, "\U00010000": 4, "｡": 5, "": 6, "$set": 7},
		"instant":                time.Date(2024, 2, 29, 23, 59, 59, 123456000, time.UTC),
		"instant with an offset": time.Date(2024, 1, 1, 0, 0, 0, 0, time.FixedZone("", 5*3600+1800)),
		"instant before 1970":    time.Date(1931, 7, 5, 1, 2, 3, 4000, time.UTC),
		"date":                   codec.Date{Year: 1, Month: 1, Day: 1},
		"time of day":            codec.TimeOfDay{Hour: 1, Minute: 2, Second: 3, Microsecond: 4},
		"time with an offset":    codec.TimeOfDay{Hour: 23, Zoned: true, Offset: -5 * time.Hour},
		"times inside":           map[string]any{"at": []any{time.Unix(0, 0).UTC(), codec.Date{Year: 9999, Month: 12, Day: 31}}},
	}
}

type user struct {
	ID      int64          `msgpack:"id"`
	Name    string         `msgpack:"name"`
	Avatar  []byte         `msgpack:"avatar"`
	Since   time.Time      `msgpack:"since"`
	Score   float64        `msgpack:"score"`
	Tags    []string       `msgpack:"tags"`
	Limits  map[string]int `msgpack:"limits"`
	Manager *user          `msgpack:"manager"`
}

func someUser() user {
	boss := user{ID: 1, Name: "Grace", Since: time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC)}
	return user{ID: 42, Name: "Ada ✓", Avatar: []byte{1, 2, 3}, Since: time.Date(2024, 5, 6, 7, 8, 9, 1000, time.UTC),
		Score: 1, Tags: []string{"a", "b"}, Limits: map[string]int{"x": 1, "a": 2}, Manager: &boss}
}

func TestPythonValues(t *testing.T) {
	py := peers.Python(t, keyring{0}.env()...)
	redis, dir := testenv.Redis(t, nil), cacheDir(t)
	t.Run("redis", func(t *testing.T) {
		exchange(t, cache(t, openRedis(t, redis.URL()), keyring{0}, "", ""), openStore(t, py, peers.PythonStore{Redis: redis.URL(), Encrypted: true}))
	})
	t.Run("file", func(t *testing.T) {
		exchange(t, cache(t, openFiles(t, dir), keyring{0}, "", ""), openStore(t, py, peers.PythonStore{File: dir, Encrypted: true}))
	})
}

// exchange passes values both ways between an operation of ours and the peer's.
func exchange(t *testing.T, c *secure.Cache, store *peers.Store) {
	op := operation(t, c, "users", "get_user")
	both := func(t *testing.T, value any, args ...any) {
		t.Helper()
		entry := peers.Op("users", "get_user", args...)
		if err := op.Set(t.Context(), value, args...); err != nil {
			t.Fatal(err)
		}
		peerReads(t, store, entry, value)
		if err := store.Delete(entry); err != nil {
			t.Fatal(err)
		}
		if found, err := op.Get(t.Context(), new(any), args...); found || err != nil {
			t.Fatalf("after the peer's delete we read found=%v, %v", found, err)
		}
		if err := store.Set(entry, value, time.Minute); err != nil {
			t.Fatal(err)
		}
		weRead(t, byArgs(op, args...), value)
		if existed, err := op.Delete(t.Context(), args...); !existed || err != nil {
			t.Fatalf("we delete the peer's entry: existed=%v, %v", existed, err)
		}
		if _, found, err := store.Get(entry); found || err != nil {
			t.Fatalf("after our delete the peer reads found=%v, %v", found, err)
		}
	}
	for name, value := range values() {
		t.Run(name, func(t *testing.T) { both(t, value, name) })
	}
	t.Run("struct", func(t *testing.T) { both(t, someUser(), 42, "x") })
	t.Run("random", func(t *testing.T) {
		g := newGenerator(t)
		for i := range 100 {
			both(t, g.value(3), g.argument(2), i)
		}
	})
	t.Run("typed", func(t *testing.T) { shareResults(t, c, store) })
}

// shareResults: a function of ours does not run for what the peer computed, and
// what it computes is the peer's too.
func shareResults(t *testing.T, c *secure.Cache, store *peers.Store) {
	runs := 0
	load := secure.Func(operation(t, c, "users", "load_user"), func(_ context.Context, id int) (user, error) {
		runs++
		u := someUser()
		u.ID = int64(id)
		return u, nil
	})
	if err := store.Set(peers.Op("users", "load_user", 1), someUser(), time.Minute); err != nil {
		t.Fatal(err)
	}
	if u, err := load(t.Context(), 1); err != nil || u.Name != "Ada ✓" || !u.Since.Equal(someUser().Since) || u.Manager.Name != "Grace" || runs != 0 {
		t.Fatalf("got %+v, %v after %d runs, want the peer's user", u, err, runs)
	}
	if u, err := load(t.Context(), 7); err != nil || u.ID != 7 || runs != 1 {
		t.Fatalf("got %+v, %v after %d runs", u, err, runs)
	}
	u := someUser()
	u.ID = 7
	peerReads(t, store, peers.Op("users", "load_user", 7), u)
}
