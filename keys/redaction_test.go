package keys_test

import (
	"bytes"
	"encoding"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/cachekit-io/cachekit-go/internal/secret"
	"github.com/cachekit-io/cachekit-go/keys"
)

func unsetenv(t *testing.T, name string) {
	t.Helper()
	if err := os.Unsetenv(name); err != nil {
		t.Fatal(err)
	}
}

// holders are the ways in which a program ends up printing a key: by itself, by
// pointer, inside its own structures.
func holders(t *testing.T) map[string]any {
	k := mustHex(t, everyDigit)
	s, err := keys.ParseNameSecret(everyDigit)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keys.NewKeyring(k)
	if err != nil {
		t.Fatal(err)
	}
	derived, err := ring.Derive(secret.NewGrant(), keys.DomainEncryption, "default")
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := hex.DecodeString(everyDigit)
	type hidden struct {
		key    keys.MasterKey
		secret keys.NameSecret
		ring   *keys.Keyring
		raw    secret.Bytes
	}
	type shown struct {
		Key    keys.MasterKey
		Secret keys.NameSecret
		Ring   *keys.Keyring
	}
	return map[string]any{
		"key": k, "key pointer": &k, "name secret": s, "name secret pointer": &s,
		"keyring": ring, "keyring value": *ring, "bytes": secret.New(raw), "derived": derived, "derived value": derived[0],
		"struct, unexported fields": hidden{k, s, ring, secret.New(raw)}, "pointer to it": &hidden{k, s, ring, secret.New(raw)},
		"struct, exported fields": shown{k, s, ring}, "pointer to that": &shown{k, s, ring},
		"slice": []keys.MasterKey{k}, "array": [1]keys.MasterKey{k}, "map": map[string]keys.MasterKey{"k": k}, "map key value": map[int]any{1: k},
		"interface": any(k), "nested": []any{map[string]any{"o": []keys.NameSecret{s}}},
	}
}

// leaks reports whether text holds the key in any rendering of its bytes.
func leaks(text string) bool {
	raw, _ := hex.DecodeString(everyDigit)
	fp := fmt.Sprintf("%d", raw[8:12])
	for _, form := range []string{
		everyDigit[16:32], strings.ToUpper(everyDigit[16:32]), string(raw[8:16]),
		strings.Trim(fp, "[]"), "0x5a, 0xc3", "165, 90", "%!d(string=" + string(raw[8:16]),
	} {
		if strings.Contains(text, form) {
			return true
		}
	}
	return false
}

func TestNoVerbPrintsAKey(t *testing.T) {
	for name, v := range holders(t) {
		for _, verb := range "vTsdqxXobcUeEfFgGtpw!z" {
			for _, flags := range []string{"", "+", "#", "-", " ", "0", "+#", "# ", "20", ".3", "+20.3", "#+0 20"} {
				format := "%" + flags + string(verb)
				if text := fmt.Sprintf(format, v); leaks(text) {
					t.Errorf("%s prints with %s: %s", name, format, text)
				}
			}
		}
		for how, text := range map[string]string{
			"Sprint": fmt.Sprint(v), "Sprintln": fmt.Sprintln(v), "Errorf": fmt.Errorf("%w: %v", os.ErrInvalid, v).Error(), "panic": panicText(v),
		} {
			if leaks(text) {
				t.Errorf("%s prints with %s: %s", name, how, text)
			}
		}
	}
}

func panicText(v any) (text string) {
	defer func() { text = fmt.Sprint(recover()) }()
	panic(v)
}

func TestNoLoggerOrMarshallerShowsAKey(t *testing.T) {
	for name, v := range holders(t) {
		var out bytes.Buffer
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v, slog.Any("g", v))
		log.New(&out, "", 0).Printf("%v %+v", v, v)
		json.NewEncoder(&out).Encode(v)
		xml.NewEncoder(&out).Encode(v)
		gob.NewEncoder(&out).Encode(v)
		if m, ok := v.(encoding.TextMarshaler); ok {
			text, _ := m.MarshalText()
			out.Write(text)
		}
		if leaks(out.String()) {
			t.Errorf("%s shows: %s", name, out.String())
		}
	}
}

func TestTheLeakDetectorWorks(t *testing.T) {
	raw, _ := hex.DecodeString(everyDigit)
	for _, format := range []string{"%x", "%X", "%s", "%d", "%v", "%#v"} {
		if !leaks(fmt.Sprintf(format, raw)) {
			t.Errorf("a key printed with %s goes unnoticed", format)
		}
	}
}

// setenv sets name for the test, or unsets it if value is unset.
func setenv(t *testing.T, name, value, unset string) {
	t.Helper()
	if value == unset {
		t.Setenv(name, "") // so that it is restored
		unsetenv(t, name)
		return
	}
	t.Setenv(name, value)
}
