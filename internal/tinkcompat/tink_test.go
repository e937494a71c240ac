package tinkcompat_test

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/tink/go/insecurecleartextkeyset"
	"github.com/google/tink/go/keyset"
	"github.com/google/tink/go/prf"
)

// TestKeysetIsReadByTheArchivedTink has package keyfile write a file whose keys
// are retired, demoted, current and staged, and checks ids, states and, by the
// one thing that a PRF keyset is good for, the bytes of each enabled key.
func TestKeysetIsReadByTheArchivedTink(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command("go", "test", "-count=1", "./keys/keyfile")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "KEYFILE_TEST_JOB=write for tink", "KEYFILE_TEST_DIR="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var file struct {
		Keys []struct {
			TinkID uint32 `json:"tink_key_id"`
			Role   string
		}
		Keyset json.RawMessage
	}
	read(t, filepath.Join(dir, "ring"), &file)
	var hexKeys map[string]string // by role
	read(t, filepath.Join(dir, "keys"), &hexKeys)

	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(file.Keyset)))
	if err != nil {
		t.Fatal(err)
	}
	set, err := prf.NewPRFSet(handle)
	if err != nil {
		t.Fatal(err)
	}
	states := map[uint32]string{}
	for _, k := range handle.KeysetInfo().GetKeyInfo() {
		states[k.GetKeyId()] = k.GetStatus().String()
	}
	if len(file.Keys) != 4 || len(states) != 4 || len(set.PRFs) != 3 {
		t.Fatalf("%d keys, %d in the keyset, %d enabled, want 4, 4, 3", len(file.Keys), len(states), len(set.PRFs))
	}
	for _, k := range file.Keys {
		want := "ENABLED"
		if k.Role == "retired" {
			want = "DISABLED"
		}
		if states[k.TinkID] != want || (k.Role == "current") != (set.PrimaryID == k.TinkID) {
			t.Errorf("the %s key is %s, primary %v", k.Role, states[k.TinkID], set.PrimaryID == k.TinkID)
		}
		if k.Role == "retired" {
			continue
		}
		got, err := set.PRFs[k.TinkID].ComputePRF([]byte("input"), 32)
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := hex.DecodeString(hexKeys[k.Role])
		expected, err := hkdf.Key(sha256.New, raw, nil, "input", 32)
		if err != nil || !bytes.Equal(got, expected) {
			t.Errorf("the bytes of the %s key are others (%v)", k.Role, err)
		}
	}
}

func read(t *testing.T, path string, v any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(strings.NewReader(string(text))).Decode(v); err != nil {
		t.Fatal(err)
	}
}
