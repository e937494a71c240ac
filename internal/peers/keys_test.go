package peers_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/codec"
	"github.com/cachekit-io/cachekit-go/codec/interop"
	"github.com/cachekit-io/cachekit-go/internal/peers"
)

func TestPythonKeys(t *testing.T) { compareKeys(t, peers.Python(t)) }

// compareKeys holds the peer's keys against ours, for random argument lists.
func compareKeys(t *testing.T, peer *peers.Peer) {
	g := newGenerator(t)
	for range 600 {
		args := make([]any, g.IntN(5))
		for i := range args {
			args[i] = g.argument(3)
		}
		ours, err := interop.Key("users", "get_user", args...)
		if err != nil {
			t.Fatalf("%#v: %v", args, err)
		}
		theirs, err := peer.Key("users", "get_user", args...)
		if err != nil {
			t.Fatalf("%#v: %v", args, err)
		}
		if ours != theirs {
			t.Fatalf("arguments %#v\n got key %s\nwant    %s", args, ours, theirs)
		}
	}
	refusedByBoth(t, peer)
}

// refusedByBoth checks that neither side makes a key of what interop/v1 refuses.
func refusedByBoth(t *testing.T, peer *peers.Peer) {
	for _, test := range []struct {
		name, namespace, operation string
		args                       []any
	}{
		{"NaN", "t", "op", []any{math.NaN()}},
		{"infinity in a map", "t", "op", []any{map[string]any{"a": math.Inf(1)}}},
		{"reserved namespace", "ns", "op", nil},
		{"two dots", "t", "a..b", nil},
		{"upper case", "T", "op", nil},
		{"trailing newline", "t", "op\n", nil},
		{"empty operation", "t", "", nil},
	} {
		if _, err := interop.Key(test.namespace, test.operation, test.args...); err == nil {
			t.Errorf("%s: we make a key of it", test.name)
		}
		var refused *peers.Error
		if _, err := peer.Key(test.namespace, test.operation, test.args...); !errors.As(err, &refused) || refused.Type == "Peer" {
			t.Errorf("%s: the peer answers %v, want its refusal", test.name, err)
		}
	}
}

// TestKeyOfAnInstant: one instant has one key, whatever zone it is written in, and
// what is finer than a microsecond is cut towards the past.
func TestKeyOfAnInstant(t *testing.T) {
	peer := peers.Python(t)
	for _, instant := range []time.Time{
		time.Date(2024, 1, 1, 12, 30, 45, 123456789, time.UTC),
		time.Date(1969, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
		time.Date(1901, 1, 1, 0, 0, 0, 1, time.UTC),
	} {
		want, err := peer.Key("t", "op", instant)
		if err != nil {
			t.Fatal(err)
		}
		for _, zone := range []*time.Location{time.UTC, time.FixedZone("", 19800), time.FixedZone("", -3600)} {
			if got, err := interop.Key("t", "op", instant.In(zone)); got != want || err != nil {
				t.Errorf("%v: got %s, %v, want %s", instant.In(zone), got, err, want)
			}
		}
	}
	a, _ := interop.Key("t", "op", codec.Set{2, 2.0})
	if b, err := peer.Key("t", "op", codec.Set{2}); a != b || err != nil {
		t.Errorf("a set of 2 and 2.0 has another key than a set of 2 in Python: %v", err)
	}
}
