package testvectors

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// checks has the check of every block. A case passes if it returns nil.
var checks = map[string]func(json.RawMessage) error{
	"derivation": of(checkDerivation), "fingerprint": of(checkFingerprint),
	"master_key": of(checkMasterKey), "raw_key": of(checkRawKey), "keyring": of(checkKeyring),
	"aad": of(checkAAD), "open": of(checkOpen), "refuse": of(checkRefuse), "foreign": of(checkForeign), "aad_refused": of(checkAADRefused),
	"interop_key": of(checkInteropKey), "interop_key_refused": of(checkInteropKeyRefused),
	"value": of(checkValue), "read": of(checkRead), "read_refused": of(checkReadRefused),
	"temporal": of(checkTemporal), "decrypted": of(checkDecrypted),
	"bounds_refused": of(checkBoundsRefused), "bounds_accepted": of(checkBoundsAccepted),
	"file": of(checkFile), "path_key": of(checkPathKey), "freshness": of(checkFreshness), "fresh_for": of(checkFreshFor),
	"bytestorage": of(checkByteStorage), "bytestorage_refused": of(checkByteStorageRefused),
	"bytestorage_document_refused": of(checkByteStorageDocument),
	"v2":                           of(checkV2), "v2_refused": of(checkV2Refused),
}

// header is what every case has. MadeBy names the peer that made it.
type header struct {
	Name   string `json:"name"`
	MadeBy string `json:"made_by"`
}

// of turns a check of a typed case into one of raw JSON.
func of[T any](check func(c T) error) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		var c T
		if err := decodeStrict(raw, &c); err != nil {
			return err
		}
		return check(c)
	}
}

// hexBytes is a binary value, written as hex.
type hexBytes []byte

// UnmarshalText decodes lower-case hex.
func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	if err == nil && bytes.ContainsAny(text, "ABCDEF") {
		err = errors.New("hex is not lower-case")
	}
	return err
}

// segment is one part of a construction.
type segment struct {
	Hex   hexBytes `json:"hex"`
	Count int      `json:"count"`
}

// maxBuilt bounds what a construction may build.
const maxBuilt = 64 << 20

func build(parts []segment) ([]byte, error) {
	var out []byte
	for _, p := range parts {
		if p.Count < 0 || p.Count > maxBuilt || len(p.Hex)*p.Count > maxBuilt-len(out) {
			return nil, errors.New("the construction is too large")
		}
		out = append(out, bytes.Repeat(p.Hex, p.Count)...)
	}
	return out, nil
}

// same compares bytes and says how they differ, without printing them whole.
func same(what string, got, want []byte) error {
	if bytes.Equal(got, want) {
		return nil
	}
	return fmt.Errorf("%s is %.64x, want %.64x", what, got, want)
}

// classified checks that err is of the class that a case names.
func classified(err error, class string, classes map[string]error) error {
	want, known := classes[class]
	switch {
	case !known:
		return fmt.Errorf("the class %q is unknown to this program", class)
	case err == nil:
		return fmt.Errorf("it was accepted, want a refusal of class %s", class)
	case !errors.Is(err, want):
		return fmt.Errorf("it was refused with %q, want class %s", err, class)
	}
	return nil
}
