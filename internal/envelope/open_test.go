package envelope_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/envelope"
	"github.com/cachekit-io/cachekit-go/keys"
)

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func master(t testing.TB, digits string) keys.MasterKey {
	t.Helper()
	k, err := keys.Hex(strings.Repeat(digits, 64/len(digits)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func box(t testing.TB, cfg envelope.Config, current keys.MasterKey, previous ...keys.MasterKey) *envelope.Box {
	t.Helper()
	ring, err := keys.NewKeyring(current, previous...)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Tenant == "" {
		cfg.Tenant = keys.DefaultTenant
	}
	b, err := envelope.New(ring, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// family are the family's published values (encryption.json; master key 61...).
var family = []struct {
	name, tenant, key string
	compressed        bool
	sealed, doc       string
}{
	{"basic_bytes", "cross-sdk-test", "test:vector:1", false,
		"f8f69c70000000000000000087d9ec09f2c2347a4b37d5330ccf50e3c31e69642801bef5", "0102030405060708"},
	{"compressed_basic", "cross-sdk-test", "test:compressed:vector", true,
		"44cc06e600000000000000000eb8450c4aac2337265323f7f1b03fc3966deaa515f7", "deadbeefcafe"},
	{"encrypted_with_k1", "keyring-conformance", "keyring:k1:entry", false,
		"010101010101010101010101ebc2f0799d210e06f1ec990ec8d2b3b1b6876e1cdbecb09600b89292", "6b312d706c61696e74657874"},
	{"encrypted_with_k2", "keyring-conformance", "keyring:k2:entry", false,
		"020202020202020202020202c9e7a0e25b70e67fc71a191af2d8ec795ce7fa3bf69d06e291ec1bce", "6b322d706c61696e74657874"},
}

func TestOpensWhatTheFamilySealed(t *testing.T) {
	for _, tc := range family {
		b := box(t, envelope.Config{Tenant: tc.tenant, Compressed: tc.compressed}, master(t, "61"), master(t, "1"), master(t, "2"))
		doc, sealed, err := b.Open(nil, envelope.Receive(tc.key, unhex(t, tc.sealed)))
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if want := unhex(t, tc.doc); !bytes.Equal(doc, want) {
			t.Errorf("%s: got %x, want %x", tc.name, doc, want)
		}
		if sealed.Key() != tc.key || hex.EncodeToString(sealed.Bytes()) != tc.sealed {
			t.Errorf("%s: what opened is not what was received", tc.name)
		}
	}
}

func TestAAD(t *testing.T) {
	for _, tc := range []struct {
		tenant, key string
		compressed  bool
		want        string
	}{
		{"cross-sdk-test", "test:vector:1", false,
			"030000000e63726f73732d73646b2d746573740000000d746573743a766563746f723a31000000076d73677061636b0000000546616c7365"},
		{"cross-sdk-test", "test:vector:1", true,
			"030000000e63726f73732d73646b2d746573740000000d746573743a766563746f723a31000000076d73677061636b0000000454727565"},
	} {
		if got := hex.EncodeToString(envelope.AAD(tc.tenant, tc.key, tc.compressed)); got != tc.want {
			t.Errorf("compressed %v: got %s, want %s", tc.compressed, got, tc.want)
		}
	}
	if bytes.Equal(envelope.AAD("ab", "c", false), envelope.AAD("a", "bc", false)) {
		t.Error("tenant and key run together")
	}
}

func TestEveryByteIsAuthenticated(t *testing.T) {
	for _, cfg := range []envelope.Config{{}, {RandomNonces: true}, {Compressed: true}} {
		b := box(t, cfg, master(t, "1"), master(t, "2"))
		sealed := b.Seal(time.Now(), "k", []byte("value")).Bytes()
		for i := range sealed {
			for bit := range 8 {
				forged := bytes.Clone(sealed)
				forged[i] ^= 1 << bit
				refuse(t, b, "k", forged, "a flipped bit")
			}
		}
		for n := range sealed {
			refuse(t, b, "k", sealed[:n], "truncation")
		}
		refuse(t, b, "k", append(bytes.Clone(sealed), 0), "a trailing byte")
		refuse(t, b, "k", append([]byte{0}, sealed...), "a leading byte")
	}
}

func refuse(t *testing.T, b *envelope.Box, key string, forged []byte, what string) {
	t.Helper()
	dst := []byte("prefix")
	doc, s, err := b.Open(dst, envelope.Receive(key, forged))
	if !errors.Is(err, envelope.ErrAuth) || !s.IsZero() || string(doc) != "prefix" {
		t.Fatalf("%s: got %q, %v; want ErrAuth and dst as it was", what, doc, err)
	}
}

// An in-process copy is opened on every hit: by no other rules, and in memory that
// the caller keeps.
func TestReopen(t *testing.T) {
	b := box(t, envelope.Config{}, master(t, "1"), master(t, "2"))
	s := b.Seal(time.Now(), "k", []byte("value"))
	buf := make([]byte, 0, 256)
	if n := testing.AllocsPerRun(100, func() {
		if doc, err := b.Reopen(buf, s); err != nil || string(doc) != "value" {
			t.Fatalf("got %q, %v", doc, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations with room in dst", n)
	}
	other := box(t, envelope.Config{}, master(t, "3"))
	if doc, err := other.Reopen([]byte("prefix"), s); !errors.Is(err, envelope.ErrAuth) || string(doc) != "prefix" {
		t.Errorf("under another key: %q, %v", doc, err)
	}
	if _, err := b.Reopen(nil, envelope.Sealed{}); !errors.Is(err, envelope.ErrZero) {
		t.Errorf("no entry: %v", err)
	}
}

func TestAnEntryOpensOnlyWhereItBelongs(t *testing.T) {
	home := box(t, envelope.Config{Tenant: "acme"}, master(t, "1"))
	sealed := home.Seal(time.Now(), "ns:k", []byte("value")).Bytes()
	for _, tc := range []struct {
		what string
		box  *envelope.Box
		key  string
	}{
		{"another key", home, "ns:l"},
		{"another namespace", home, "ms:k"},
		{"no namespace", home, "k"},
		{"another tenant", box(t, envelope.Config{Tenant: "acmf"}, master(t, "1")), "ns:k"},
		{"the default tenant", box(t, envelope.Config{}, master(t, "1")), "ns:k"},
		{"another master key", box(t, envelope.Config{Tenant: "acme"}, master(t, "2")), "ns:k"},
		{"another mode", box(t, envelope.Config{Tenant: "acme", Compressed: true}, master(t, "1")), "ns:k"},
	} {
		refuse(t, tc.box, tc.key, sealed, tc.what)
	}
}

func TestPlantedBytesAreRefused(t *testing.T) {
	b := box(t, envelope.Config{}, master(t, "1"))
	for what, planted := range map[string]string{
		"nothing":           "",
		"plain MessagePack": "82a36167651ea46e616d65a5616c696365",
		"a Python frame":    "434b030000004d7b2273223a202264656661756c74222c20226d223a207b22666f726d6174223a20226d73677061636b227d7d68656c6c6f",
		"a v2 container":    "c1029300000000000000000000000000000000000000000000000000000000",
		"zeros":             strings.Repeat("00", 64),
		"nonce and tag":     strings.Repeat("00", envelope.Overhead),
	} {
		refuse(t, b, "k", unhex(t, planted), what)
	}
	if _, _, err := b.Open(nil, envelope.Received{}); !errors.Is(err, envelope.ErrZero) {
		t.Errorf("zero Received: got %v, want ErrZero", err)
	}
}

func TestKeyringOrderAndUse(t *testing.T) {
	k1, k2, k3 := master(t, "1"), master(t, "2"), master(t, "3")
	old, mid := box(t, envelope.Config{}, k1), box(t, envelope.Config{}, k2)
	ring := box(t, envelope.Config{}, k3, k2, k1)
	for i, b := range []*envelope.Box{ring, mid, old, old} {
		doc, _, err := ring.Open(nil, received(b.Seal(time.Now(), "k", []byte{byte(i)})))
		if err != nil || len(doc) != 1 || doc[0] != byte(i) {
			t.Fatalf("entry %d: got %v, %v", i, doc, err)
		}
	}
	want := []uint64{1, 1, 2}
	for i, u := range ring.Use() {
		f, _ := []keys.MasterKey{k3, k2, k1}[i].Fingerprint("default")
		if u.Opened != want[i] || u.Fingerprint != f {
			t.Errorf("key %d: %+v, want %d opened under %s", i, u, want[i], f)
		}
	}
	refuse(t, box(t, envelope.Config{}, k3, k2), "k", old.Seal(time.Now(), "k", nil).Bytes(), "a dropped key")
	if got := ring.Seals(); got != 1 {
		t.Errorf("the ring counts %d seals, want 1", got)
	}
}

func TestPlainBoxPassesDocumentsThrough(t *testing.T) {
	b := envelope.NewPlain()
	doc := []byte("document")
	s := b.Seal(time.Now(), "k", doc)
	doc[0] = 'X'
	if string(s.Bytes()) != "document" || !b.Plain() {
		t.Errorf("got %q", s.Bytes())
	}
	got, again, err := b.Open([]byte("> "), received(s))
	if err != nil || string(got) != "> document" || again.Key() != "k" {
		t.Errorf("got %q, %v", got, err)
	}
}
