package peers_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/peers"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
	"github.com/cachekit-io/cachekit-go/secure"
)

// TestPythonForgeries: whatever lies under a key but what a holder of the keyring
// sealed for it is ErrAuth, does not run the loader and stays where it is.
func TestPythonForgeries(t *testing.T) {
	redis := testenv.Redis(t, nil)
	py := peers.Python(t, keyring{0}.env()...)
	sealed := openStore(t, py, peers.PythonStore{Redis: redis.URL(), Encrypted: true, FailClosed: true})
	plain := openStore(t, py, peers.PythonStore{Redis: redis.URL()})
	op := operation(t, cache(t, openRedis(t, redis.URL()), keyring{0}, "", ""), "users", "get_user")
	key, err := op.Key(1)
	if err != nil {
		t.Fatal(err)
	}
	write := func(t *testing.T, s *peers.Store, e peers.Entry) string {
		t.Helper()
		if err := s.Set(e, "the value", time.Minute); err != nil {
			t.Fatal(err)
		}
		stored, _ := redis.Do("GET", key).(string)
		return stored
	}
	ours := peers.Op("users", "get_user", 1)

	forgeries := map[string]string{}
	original := write(t, sealed, ours)
	for _, at := range []int{0, 11, 12, len(original) / 2, len(original) - 16, len(original) - 1} {
		flipped := []byte(original)
		flipped[at] ^= 1
		forgeries["flipped byte of the "+part(at, len(original))] = string(flipped)
	}
	forgeries["truncated"] = original[:len(original)-1]
	forgeries["extended"] = original + "\x00"
	forgeries["shorter than a nonce and a tag"] = original[:27]
	forgeries["empty"] = ""
	forgeries["plaintext of a peer that does not encrypt"] = write(t, plain, ours)
	if err := sealed.Set(peers.Op("users", "get_user", 2), "the value", time.Minute); err != nil {
		t.Fatal(err)
	}
	other, err := op.Key(2)
	if err != nil {
		t.Fatal(err)
	}
	forgeries["entry of another key"], _ = redis.Do("GET", other).(string)
	forgeries["auto-mode frame"] = autoFrame(t, redis, sealed)
	forgeries["auto-mode frame without encryption"] = autoFrame(t, redis, plain)

	load := secure.Func(op, func(context.Context, int) (string, error) {
		t.Error("the loader ran")
		return "", nil
	})
	for name, forgery := range forgeries {
		t.Run(name, func(t *testing.T) {
			redis.Do("SET", key, forgery)
			if found, err := op.Get(t.Context(), new(any), 1); found || !errors.Is(err, secure.ErrAuth) {
				t.Errorf("Get: found=%v, %v, want ErrAuth", found, err)
			}
			if _, err := load(t.Context(), 1); !errors.Is(err, secure.ErrAuth) {
				t.Errorf("Func: %v, want ErrAuth", err)
			}
			if got := redis.Do("GET", key); got != forgery {
				t.Error("the entry is not there any more")
			}
		})
	}
	redis.Do("SET", key, original)
	weRead(t, byArgs(op, 1), "the value")
}

func part(at, length int) string {
	switch {
	case at < 12:
		return "nonce " + strings.Repeat("'", at/11)
	case at >= length-16:
		return "tag " + strings.Repeat("'", (at-length+16)/15)
	default:
		return "ciphertext " + strings.Repeat("'", min(1, at-12))
	}
}

// autoFrame returns what the store writes for a function in auto mode.
func autoFrame(t *testing.T, redis *testenv.RedisServer, s *peers.Store) string {
	t.Helper()
	if err := s.Auto("auto", "the value", 1); err != nil {
		t.Fatal(err)
	}
	all, _ := redis.Do("KEYS", "*auto*").([]any)
	if len(all) != 1 {
		t.Fatalf("auto mode wrote %d keys, want 1", len(all))
	}
	frame, _ := redis.Do("GETDEL", all[0]).(string)
	if !strings.HasPrefix(frame, "CK") {
		t.Fatalf("an auto-mode entry begins with %q, want CK", frame[:min(2, len(frame))])
	}
	return frame
}

// TestPythonRefusesForgeries: the other way round, for what we write.
func TestPythonRefusesForgeries(t *testing.T) {
	redis := testenv.Redis(t, nil)
	py := peers.Python(t, keyring{0}.env()...)
	store := openStore(t, py, peers.PythonStore{Redis: redis.URL(), Encrypted: true, FailClosed: true})
	op := operation(t, cache(t, openRedis(t, redis.URL()), keyring{0}, "", ""), "users", "get_user")
	for arg := 1; arg <= 2; arg++ {
		if err := op.Set(t.Context(), "the value", arg); err != nil {
			t.Fatal(err)
		}
	}
	first, _ := op.Key(1)
	second, _ := op.Key(2)
	redis.Do("SET", second, redis.Do("GET", first))
	peerReads(t, store, peers.Op("users", "get_user", 1), "the value")
	var refusal *peers.Error
	if _, _, err := store.Get(peers.Op("users", "get_user", 2)); !errors.As(err, &refusal) || refusal.Type != "DecryptionAuthenticationError" {
		t.Errorf("Python answers %v to our entry under another key, want its refusal", err)
	}
}

// TestPythonTenant: a deployment UUID is the tenant, and nothing opens across.
func TestPythonTenant(t *testing.T) {
	const tenant = "8f14e45f-ceea-467f-9e8d-3a1b2c3d4e5f"
	redis := testenv.Redis(t, nil)
	py := peers.Python(t, append(keyring{0}.env(), "CACHEKIT_DEPLOYMENT_UUID="+tenant)...)
	store := openStore(t, py, peers.PythonStore{Redis: redis.URL(), Encrypted: true, FailClosed: true})
	b := openRedis(t, redis.URL())
	same := operation(t, cache(t, b, keyring{0}, tenant, ""), "users", "get_user")
	e := peers.Op("users", "get_user", 1)
	if err := same.Set(t.Context(), "ours", 1); err != nil {
		t.Fatal(err)
	}
	peerReads(t, store, e, "ours")
	if err := store.Set(e, "theirs", time.Minute); err != nil {
		t.Fatal(err)
	}
	weRead(t, byArgs(same, 1), "theirs")
	for _, other := range []string{"", strings.ToUpper(tenant), tenant + "0"} {
		op := operation(t, cache(t, b, keyring{0}, other, ""), "users", "get_user")
		if _, err := op.Get(t.Context(), new(any), 1); !errors.Is(err, secure.ErrAuth) {
			t.Errorf("tenant %q: %v, want ErrAuth", other, err)
		}
	}
}

// TestPythonPlaintext: a cache that was told not to encrypt shares entries with a
// peer that does not, and names what it cannot read.
func TestPythonPlaintext(t *testing.T) {
	redis := testenv.Redis(t, nil)
	py := peers.Python(t)
	store := openStore(t, py, peers.PythonStore{Redis: redis.URL()})
	c, err := secure.NewProduction(t.Context(), &secure.Options{Backend: openRedis(t, redis.URL()), Plaintext: true, NoL1: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	exchange(t, c, store)

	op := operation(t, c, "users", "framed")
	key, err := op.Key()
	if err != nil {
		t.Fatal(err)
	}
	redis.Do("SET", key, autoFrame(t, redis, store))
	if _, err := op.Get(t.Context(), new(any)); !errors.Is(err, secure.ErrMalformed) {
		t.Errorf("an auto-mode frame: %v, want ErrMalformed", err)
	}
}
