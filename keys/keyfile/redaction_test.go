package keyfile_test

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/keys/keyfile"
)

const everyDigit = "0123456789abcdef5ac3a55a0f1e2d3cb4a5968778695a4b3c2d1e0ff0e1d2c3"

// leaks reports whether text holds the key or the passphrase in any rendering.
func leaks(text string) bool {
	raw, _ := hex.DecodeString(everyDigit)
	for _, form := range []string{
		everyDigit[16:32], strings.ToUpper(everyDigit[16:32]), string(raw[8:16]), strings.Trim(fmt.Sprintf("%d", raw[8:12]), "[]"),
		base64.StdEncoding.EncodeToString(raw[9:21]), "0x5a, 0xc3", phrase, strings.Trim(fmt.Sprintf("%d", []byte(phrase)[:6]), "[]"), hex.EncodeToString([]byte(phrase)[:8]),
	} {
		if strings.Contains(text, form) {
			return true
		}
	}
	return false
}

// Rule: nothing that holds a key or a passphrase prints it, whoever prints.
func TestNothingPrintsAKey(t *testing.T) {
	d := must(keyfile.NewDocument(must(keys.NewKeyring(must(keys.Hex(everyDigit))(t)))(t), "", day))(t)
	p := must(keyfile.QuickPassphrase(phrase))(t)
	s := keyfile.Open("/nowhere", p, nil)
	type hidden struct {
		d *keyfile.Document
		p *keyfile.Protection
		s *keyfile.Source
	}
	type shown struct {
		D *keyfile.Document
		P *keyfile.Protection
		S *keyfile.Source
	}
	for name, v := range map[string]any{
		"document": d, "document value": *d, "protection": p, "protection value": *p, "source": s,
		"unexported": hidden{d, p, s}, "exported": shown{d, p, s}, "pointer": &shown{d, p, s},
		"slice": []any{d, p, s}, "map": map[string]any{"d": d, "p": p},
	} {
		for _, verb := range "vTsdqxXobcUeEfFgGtpw" {
			for _, flags := range []string{"", "+", "#", "-", " ", "0", "+#", "20"} {
				if text := fmt.Sprintf("%"+flags+string(verb), v); leaks(text) {
					t.Errorf("%s prints with %%%s%c: %s", name, flags, verb, text)
				}
			}
		}
		var out bytes.Buffer
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v)
		json.NewEncoder(&out).Encode(v)
		xml.NewEncoder(&out).Encode(v)
		gob.NewEncoder(&out).Encode(v)
		if leaks(out.String()) {
			t.Errorf("%s shows: %s", name, &out)
		}
	}
	if c, _, _ := d.Export(); !leaks(c) || !leaks(phrase) {
		t.Error("the detector does not see a key")
	}
}
