package keys_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cachekit-io/cachekit-go/internal/secret"
	"github.com/cachekit-io/cachekit-go/keys"
)

func TestKeyringRules(t *testing.T) {
	k := func(digit string) keys.MasterKey { return mustHex(t, ones(digit)) }
	for _, tc := range []struct {
		rule     string
		current  keys.MasterKey
		previous []keys.MasterKey
		want     error
	}{
		{"one key is enough", k("1"), nil, nil},
		{"three decrypt-only keys are the most", k("1"), []keys.MasterKey{k("2"), k("3"), k("4")}, nil},
		{"a fourth is refused", k("1"), []keys.MasterKey{k("2"), k("3"), k("4"), k("5")}, keys.ErrTooManyKeys},
		{"the current key is not decrypt-only too", k("1"), []keys.MasterKey{k("2"), k("1")}, keys.ErrCurrentRepeated},
		{"whatever the case of its digits", mustHex(t, ones("a")), []keys.MasterKey{mustHex(t, ones("A"))}, keys.ErrCurrentRepeated},
		{"no key is given twice", k("1"), []keys.MasterKey{k("2"), k("3"), k("2")}, keys.ErrKeyRepeated},
		{"a current key is needed", keys.MasterKey{}, nil, keys.ErrNoKey},
		{"a zero key is no decrypt-only key", k("1"), []keys.MasterKey{{}}, keys.ErrNoKey},
	} {
		ring, err := keys.NewKeyring(tc.current, tc.previous...)
		if !errors.Is(err, tc.want) || (err == nil) != (ring != nil) {
			t.Errorf("%s: got %v, want %v", tc.rule, err, tc.want)
		}
		if err == nil && ring.Len() != 1+len(tc.previous) {
			t.Errorf("%s: %d keys, want %d", tc.rule, ring.Len(), 1+len(tc.previous))
		}
	}
}

func TestKeyringOrderIsCurrentThenPrevious(t *testing.T) {
	var want []keys.Fingerprint
	var all []keys.MasterKey
	for _, d := range []string{"4", "1", "3", "2"} {
		k := mustHex(t, ones(d))
		f, err := k.Fingerprint("acme")
		if err != nil {
			t.Fatal(err)
		}
		all, want = append(all, k), append(want, f)
	}
	ring, err := keys.NewKeyring(all[0], all[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	all[1] = all[0] // the keyring keeps its own list
	got, err := ring.Fingerprints("acme")
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	if same, err := ring.Keyring(context.Background()); same != ring || err != nil {
		t.Errorf("a keyring is its own source: got %v, %v", same, err)
	}
}

func TestDerivedKeysNeedAGrant(t *testing.T) {
	ring, err := keys.NewKeyring(mustHex(t, everyDigit))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ring.Derive(secret.Grant{}, keys.DomainEncryption, "default"); !errors.Is(err, keys.ErrGrant) || got != nil {
		t.Errorf("zero grant: got %v, %v; want ErrGrant", got, err)
	}
	got, err := ring.Derive(secret.NewGrant(), keys.DomainEncryption, "default")
	if err != nil || len(got) != 1 || len(got[0].Bytes.Reveal()) != 32 {
		t.Fatalf("with a grant: got %d keys, %v", len(got), err)
	}
	if _, err := ring.Derive(secret.NewGrant(), keys.DomainEncryption, ""); !errors.Is(err, keys.ErrTenant) {
		t.Errorf("no tenant: got %v, want ErrTenant", err)
	}
}

func TestDomainsAndTenantsDeriveDifferentKeys(t *testing.T) {
	ring, err := keys.NewKeyring(mustHex(t, everyDigit))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, domain := range []keys.Domain{keys.DomainEncryption, keys.DomainAuthentication, keys.DomainCacheKeys} {
		for _, tenant := range []string{"default", "a", "b", "ab", "encryption"} {
			d, err := ring.Derive(secret.NewGrant(), domain, tenant)
			if err != nil {
				t.Fatal(err)
			}
			who := domain.String() + "/" + tenant
			if other, dup := seen[string(d[0].Bytes.Reveal())]; dup {
				t.Errorf("%s and %s derive the same key", who, other)
			}
			seen[string(d[0].Bytes.Reveal())] = who
		}
	}
	if got := keys.Domain(0).String(); got != "invalid domain" {
		t.Errorf("the zero domain is %q", got)
	}
}

func TestEnvironment(t *testing.T) {
	const unset = "\x00unset"
	for _, tc := range []struct {
		name, current, previous string
		want                    error // nil: accepted
		also                    error
		keys                    int
	}{
		{name: "a key", current: everyDigit, previous: unset, keys: 1},
		{name: "a key and a list", current: everyDigit, previous: ones("1") + ", " + ones("2"), keys: 3},
		{name: "a blank list is no list", current: everyDigit, previous: " \t", keys: 1},
		{name: "nothing", current: unset, previous: unset, want: keys.ErrNoKey},
		{name: "an empty key", current: "", previous: unset, want: keys.ErrEnvironment, also: keys.ErrShortKey},
		{name: "a blank key", current: "  ", previous: unset, want: keys.ErrEnvironment, also: keys.ErrNotHex},
		{name: "a key with a line end", current: everyDigit + "\n", previous: unset, want: keys.ErrEnvironment, also: keys.ErrNotHex},
		{name: "a short key", current: everyDigit[:62], previous: unset, want: keys.ErrEnvironment, also: keys.ErrShortKey},
		{name: "a raw key", current: "\xff\xfe\xfd" + everyDigit, previous: unset, want: keys.ErrEnvironment, also: keys.ErrNotHex},
		{name: "a list without a key", current: unset, previous: ones("1"), want: keys.ErrEnvironment},
		{name: "an empty entry", current: everyDigit, previous: ones("1") + ",," + ones("2"), want: keys.ErrEnvironment, also: keys.ErrShortKey},
		{name: "a trailing comma", current: everyDigit, previous: ones("1") + ",", want: keys.ErrEnvironment, also: keys.ErrShortKey},
		{name: "a bad entry", current: everyDigit, previous: "xyz", want: keys.ErrEnvironment, also: keys.ErrNotHex},
		{name: "a bad list without a key", current: unset, previous: "xyz", want: keys.ErrEnvironment, also: keys.ErrNotHex},
		{name: "the current key in the list", current: everyDigit, previous: strings.ToUpper(everyDigit), want: keys.ErrEnvironment, also: keys.ErrCurrentRepeated},
		{name: "four in the list", current: everyDigit, previous: strings.Join([]string{ones("1"), ones("2"), ones("3"), ones("4")}, ","), want: keys.ErrEnvironment, also: keys.ErrTooManyKeys},
		{name: "one twice in the list", current: everyDigit, previous: ones("1") + "," + ones("1"), want: keys.ErrEnvironment, also: keys.ErrKeyRepeated},
	} {
		t.Run(tc.name, func(t *testing.T) {
			setenv(t, keys.EnvMasterKey, tc.current, unset)
			setenv(t, keys.EnvPreviousMasterKeys, tc.previous, unset)
			ring, err := keys.Environment{}.Keyring(context.Background())
			if tc.want == nil {
				if err != nil || ring.Len() != tc.keys {
					t.Fatalf("got %v, want %d keys", err, tc.keys)
				}
				return
			}
			if !errors.Is(err, tc.want) || tc.also != nil && !errors.Is(err, tc.also) {
				t.Errorf("got %v, want %v (%v)", err, tc.want, tc.also)
			}
			if text := err.Error(); strings.Contains(text, everyDigit[:16]) || strings.Contains(text, "1111") || strings.Contains(text, "xyz") {
				t.Errorf("the error repeats what the variable holds: %s", text)
			}
			if errors.Is(err, keys.ErrEnvironment) && !strings.Contains(err.Error(), "CACHEKIT_") {
				t.Errorf("the error does not name the variable: %v", err)
			}
		})
	}
}
