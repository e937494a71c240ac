package envelope_test

import (
	"errors"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/envelope"
	"github.com/cachekit-io/cachekit-go/keys"
)

func rekey(t *testing.T, b *envelope.Box, current string, previous ...string) *envelope.Box {
	t.Helper()
	var old []keys.MasterKey
	for _, p := range previous {
		old = append(old, master(t, p))
	}
	ring, err := keys.NewKeyring(master(t, current), old...)
	if err != nil {
		t.Fatal(err)
	}
	n, err := b.Rekey(ring)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestRekey(t *testing.T) {
	now := time.Now()
	one := box(t, envelope.Config{Tenant: "acme", Compressed: true}, master(t, "1"))
	sealed := received(one.Seal(now, "k", []byte("doc")))
	if _, _, err := one.Open(nil, sealed); err != nil {
		t.Fatal(err)
	}

	staged := rekey(t, one, "1", "2")
	if _, _, err := staged.Open(nil, sealed); err != nil {
		t.Errorf("tenant and mode stay: %v", err)
	}
	staged.Seal(now, "k", nil)
	if one.Seals() != 2 || staged.Seals() != 2 {
		t.Errorf("the current key stays, and its seals are %d and %d, want 2", one.Seals(), staged.Seals())
	}
	a, b := one.Seal(now, "k", nil).Bytes(), staged.Seal(now, "k", nil).Bytes()
	if a[11]+1 != b[11] {
		t.Error("the nonces of a key that stays current do not go on")
	}

	promoted := rekey(t, staged, "2", "1")
	if promoted.Seals() != 0 {
		t.Errorf("a key that becomes current has %d seals, want 0", promoted.Seals())
	}
	if _, _, err := promoted.Open(nil, sealed); err != nil {
		t.Error(err)
	}
	if use := promoted.Use(); use[0].Opened != 0 || use[1].Opened != 3 {
		t.Errorf("counts %+v, want 0 and 3", use)
	}
	if _, _, err := one.Open(nil, received(promoted.Seal(now, "k", nil))); !errors.Is(err, envelope.ErrAuth) {
		t.Errorf("the promoted key seals: got %v from a Box without it", err)
	}

	retired := rekey(t, promoted, "2")
	if _, _, err := retired.Open(nil, sealed); !errors.Is(err, envelope.ErrAuth) {
		t.Errorf("a key that is gone: got %v", err)
	}
	for name, tc := range map[string]struct {
		b, other *envelope.Box
		want     bool
	}{
		"a key more": {staged, one, false}, "another order": {promoted, staged, false}, "a key less": {retired, promoted, true}, "the same": {one, one, false},
	} {
		if got := tc.b.Lacks(tc.other); got != tc.want {
			t.Errorf("%s: lacks %v, want %v", name, got, tc.want)
		}
	}
}
