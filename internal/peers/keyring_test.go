package peers_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/peers"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
	"github.com/cachekit-io/cachekit-go/secure"
)

// phases are the keyrings of a rotation from key 0 to key 1, in the order in
// which a fleet passes through them.
var phases = []struct {
	name string
	ring keyring
}{
	{"before", keyring{0}},
	{"staged", keyring{0, 1}},
	{"promoted", keyring{1, 0}},
	{"retired", keyring{1}},
}

func TestPythonRotation(t *testing.T) {
	redis := testenv.Redis(t, nil)
	rotate(t, openRedis(t, redis.URL()), "DecryptionAuthenticationError", func(ring keyring) *peers.Store {
		py := peers.Python(t, ring.env()...)
		return openStore(t, py, peers.PythonStore{Redis: redis.URL(), Encrypted: true, FailClosed: true})
	})
}

// rotate puts our caches and the peer's stores in every pair of phases: one reads
// what the other writes exactly if its keyring has the writer's current key.
func rotate(t *testing.T, b backends.Backend, refusal string, open func(keyring) *peers.Store) {
	for _, theirs := range phases {
		store := open(theirs.ring)
		for _, ours := range phases {
			t.Run(fmt.Sprintf("we %s, they %s", ours.name, theirs.name), func(t *testing.T) {
				c := cache(t, b, ours.ring, "", "")
				op := operation(t, c, "users", "get_user")
				e := peers.Op("users", "get_user", theirs.name, ours.name)

				if err := op.Set(t.Context(), "ours", theirs.name, ours.name); err != nil {
					t.Fatal(err)
				}
				if slices.Contains(theirs.ring, ours.ring[0]) {
					peerReads(t, store, e, "ours")
				} else {
					var err *peers.Error
					if _, _, got := store.Get(e); !errors.As(got, &err) || err.Type != refusal {
						t.Fatalf("the peer answers %v, want %s", got, refusal)
					}
				}

				if err := store.Set(e, "theirs", time.Minute); err != nil {
					t.Fatal(err)
				}
				get, at := byArgs(op, theirs.name, ours.name), slices.Index(ours.ring, theirs.ring[0])
				if at < 0 {
					if _, err := get(t.Context(), new(any)); !errors.Is(err, secure.ErrAuth) {
						t.Fatalf("got %v, want ErrAuth", err)
					}
					return
				}
				weRead(t, get, "theirs")
				for i, key := range c.Stats().Keys {
					if (key.Opened == 1) != (i == at) {
						t.Errorf("key %d of the keyring counts %d reads; the entry is under key %d", i, key.Opened, at)
					}
				}
			})
		}
	}
}
