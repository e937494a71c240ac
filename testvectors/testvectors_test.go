package testvectors_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/cachekit-io/cachekit-go/testvectors"
)

var update = flag.Bool("update", false, "write data/manifest.json anew")

// pinned is the number of cases of each block: a set that lost one is red even
// if its manifest agrees with it.
var pinned = map[string]int{
	"derivation": 21, "fingerprint": 6, "master_key": 15, "raw_key": 7, "keyring": 5,
	"aad": 11, "open": 21, "refuse": 36, "foreign": 6, "aad_refused": 10,
	"interop_key": 84, "interop_key_refused": 34, "value": 5, "read": 11, "temporal": 10, "read_refused": 22, "decrypted": 4,
	"bounds_refused": 19, "bounds_accepted": 3, "file": 12, "path_key": 31, "freshness": 9, "fresh_for": 22,
	"bytestorage": 27, "bytestorage_refused": 14, "bytestorage_document_refused": 2, "v2": 5, "v2_refused": 16,
}

type manifest struct {
	Format int `json:"format"`
	Files  []struct {
		Name   string         `json:"name"`
		SHA256 string         `json:"sha256"`
		Blocks map[string]int `json:"blocks"`
	} `json:"files"`
}

func TestManifest(t *testing.T) {
	if !*update {
		t.Log("with -update this writes the manifest")
	} else if err := os.WriteFile("data/manifest.json", remake(t, os.DirFS("data")), 0o644); err != nil {
		t.Fatal(err)
	}
	raw, err := fs.ReadFile(testvectors.Embedded(), "manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	if !*update && string(raw) != string(remake(t, testvectors.Embedded())) {
		t.Error("the manifest is not what its files make it")
	}
}

// remake makes the manifest of the files in fsys.
func remake(t *testing.T, fsys fs.FS) []byte {
	t.Helper()
	m := manifest{Format: 1}
	names, err := fs.Glob(fsys, "*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if name == "manifest.json" {
			continue
		}
		raw, err := fs.ReadFile(fsys, name)
		if err != nil {
			t.Fatal(err)
		}
		var f struct {
			Blocks map[string][]json.RawMessage `json:"blocks"`
		}
		if err := json.Unmarshal(raw, &f); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(raw)
		blocks := map[string]int{}
		for b, cases := range f.Blocks {
			blocks[b] = len(cases)
		}
		m.Files = append(m.Files, struct {
			Name   string         `json:"name"`
			SHA256 string         `json:"sha256"`
			Blocks map[string]int `json:"blocks"`
		}{name, hex.EncodeToString(sum[:]), blocks})
	}
	out, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}

func TestEmbeddedSet(t *testing.T) {
	report, err := testvectors.Verify(testvectors.Embedded())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, b := range report.Blocks {
		got[b.Name] = b.Passed
		t.Logf("%-30s %3d passed, %d failed", b.Name, b.Passed, b.Failed)
	}
	if !maps.Equal(got, pinned) {
		t.Errorf("counts are %v, want %v", got, pinned)
	}
	if report.Passed() == 0 {
		t.Error("nothing passed")
	}
}

func TestAnyDirectory(t *testing.T) {
	dir := t.TempDir()
	for name, f := range copied(t) {
		if err := os.WriteFile(filepath.Join(dir, name), f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := testvectors.Verify(os.DirFS(dir)); err != nil {
		t.Error(err)
	}
}

// copied is the embedded set as files that a test may change.
func copied(t *testing.T) fstest.MapFS {
	t.Helper()
	out := fstest.MapFS{}
	names, err := fs.Glob(testvectors.Embedded(), "*.json")
	if err != nil || len(names) < 7 {
		t.Fatalf("%v, %v", names, err)
	}
	for _, name := range names {
		raw, err := fs.ReadFile(testvectors.Embedded(), name)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = &fstest.MapFile{Data: raw}
	}
	return out
}

func red(t *testing.T, what string, set fstest.MapFS) {
	t.Helper()
	if _, err := testvectors.Verify(set); !errors.Is(err, testvectors.ErrVectors) {
		t.Errorf("%s goes unnoticed (%v)", what, err)
	}
}

func TestDamagedSetsAreRed(t *testing.T) {
	for name := range copied(t) {
		set := copied(t)
		delete(set, name)
		red(t, "the missing "+name, set)
		set = copied(t)
		set[name].Data = append(set[name].Data, ' ')
		if name != "manifest.json" {
			red(t, "a byte more in "+name, set)
		}
		set = copied(t)
		set[name].Data = set[name].Data[:len(set[name].Data)/2]
		red(t, "the truncated "+name, set)
	}
	set := copied(t)
	set["extra.json"] = &fstest.MapFile{Data: []byte("{}")}
	red(t, "an unlisted file", set)
	red(t, "an empty directory", fstest.MapFS{})
	set = copied(t)
	set["manifest.json"].Data = []byte(`{"format":1,"files":[]}`)
	red(t, "an empty manifest", set)
	set = copied(t)
	set["manifest.json"].Data = []byte(strings.Replace(string(set["manifest.json"].Data), `"format": 1`, `"format": 2`, 1))
	red(t, "another format", set)
}

// Whoever changes a case and mends the manifest after it must still be caught:
// by the check of the case. A removed case or block is caught by the pinned
// counts above, and a removed block by Verify itself.
func TestChangedCasesAreRed(t *testing.T) {
	flips := 0
	for name := range copied(t) {
		if name == "manifest.json" {
			continue
		}
		var f struct {
			Format      int                         `json:"format"`
			Description string                      `json:"description"`
			Blocks      map[string][]map[string]any `json:"blocks"`
		}
		for block := range pinned {
			set := copied(t)
			if err := json.Unmarshal(set[name].Data, &f); err != nil {
				t.Fatal(err)
			}
			if _, ok := f.Blocks[block]; !ok {
				continue
			}
			cases := f.Blocks[block]
			delete(f.Blocks, block)
			red(t, "the missing block "+block, mended(t, set, name, f))
			f.Blocks[block] = cases
			for field, v := range cases[0] {
				text, ok := v.(string)
				if !ok || len(text) == 0 || !decides(block, field) {
					continue
				}
				changed := flip(text)
				cases[0][field] = changed
				set = mended(t, copied(t), name, f)
				if _, err := testvectors.Verify(set); err == nil {
					t.Errorf("%s, %s: a changed %s goes unnoticed", block, cases[0]["name"], field)
				}
				cases[0][field] = text
				flips++
			}
		}
	}
	if flips < 40 {
		t.Errorf("only %d fields were changed", flips)
	}
}

// decides reports whether another value of the field must turn its case red. The
// input of a refusal may change and still be refused, a file may expire in
// another century, and the key of a foreign entry is in the AAD that is given.
func decides(block, field string) bool {
	switch {
	case field == "name" || field == "made_by":
		return false
	case strings.HasSuffix(block, "refuse") || strings.HasSuffix(block, "refused"):
		return field == "class"
	case block == "master_key" || block == "raw_key" || block == "keyring":
		return field == "verdict"
	case block == "foreign":
		return field != "key"
	case block == "file":
		return field != "file_hex"
	}
	return true
}

// flip changes one character in the middle of a text, to another hex digit if it
// is one.
func flip(text string) string {
	b := []byte(text)
	i := len(b) / 2
	if b[i] == '0' {
		b[i] = '1'
	} else {
		b[i] = '0'
	}
	return string(b)
}

// mended returns the set with one file replaced and its manifest made anew.
func mended(t *testing.T, set fstest.MapFS, name string, f any) fstest.MapFS {
	t.Helper()
	raw, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	set[name].Data = raw
	set["manifest.json"].Data = remake(t, set)
	return set
}

func BenchmarkVerify(b *testing.B) {
	for b.Loop() {
		if _, err := testvectors.Verify(testvectors.Embedded()); err != nil {
			b.Fatal(err)
		}
	}
}
