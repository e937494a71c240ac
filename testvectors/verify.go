package testvectors

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

//go:embed data
var data embed.FS

// ErrVectors is in the chain of every error of Verify.
var ErrVectors = errors.New("testvectors: verification failed")

// formatVersion is the format of manifests and files that Verify reads.
const formatVersion = 1

// maxFile bounds a file before it is read.
const maxFile = 16 << 20

// manifestName is the name of the manifest of a set.
const manifestName = "manifest.json"

// Embedded returns the set that is built into this package.
func Embedded() fs.FS {
	sub, err := fs.Sub(data, "data")
	if err != nil {
		panic("testvectors: " + err.Error())
	}
	return sub
}

type manifest struct {
	Format int            `json:"format"`
	Files  []manifestFile `json:"files"`
}

type manifestFile struct {
	Name   string         `json:"name"`
	SHA256 string         `json:"sha256"`
	Blocks map[string]int `json:"blocks"`
}

type vectorFile struct {
	Format      int                          `json:"format"`
	Description string                       `json:"description"`
	Blocks      map[string][]json.RawMessage `json:"blocks"`
}

// Report is what Verify found.
type Report struct {
	// Blocks are in the order of their names.
	Blocks []Block
}

// Block is the outcome of one block.
type Block struct {
	File, Name string
	// Passed and Failed count its cases.
	Passed, Failed int
	// Failures has the reason for each failed case.
	Failures []Failure
}

// Failure is one failed case.
type Failure struct {
	Case   string
	Reason string
}

// Passed returns the number of cases that passed.
func (r Report) Passed() (n int) {
	for _, b := range r.Blocks {
		n += b.Passed
	}
	return n
}

// Verify checks this module against the set in fsys. The report has what could
// be checked; the error is nil only if the set is whole and every case passed.
func Verify(fsys fs.FS) (Report, error) {
	var problems []string
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	var m manifest
	if err := readJSON(fsys, manifestName, &m, nil); err != nil {
		return Report{}, fmt.Errorf("%w: %w", ErrVectors, err)
	}
	if m.Format != formatVersion {
		return Report{}, fmt.Errorf("%w: the manifest is of format %d, this program reads %d", ErrVectors, m.Format, formatVersion)
	}
	var report Report
	seen := map[string]bool{manifestName: true}
	have := map[string]bool{}
	for _, f := range m.Files {
		if seen[f.Name] {
			complain("%s: listed twice", f.Name)
			continue
		}
		seen[f.Name] = true
		blocks, err := verifyFile(fsys, f)
		if err != nil {
			complain("%s: %v", f.Name, err)
		}
		for _, b := range blocks {
			have[b.Name] = true
			if b.Failed > 0 {
				complain("%s: %s: %d of %d cases failed, the first: %s: %s", f.Name, b.Name, b.Failed, b.Failed+b.Passed, b.Failures[0].Case, b.Failures[0].Reason)
			}
		}
		report.Blocks = append(report.Blocks, blocks...)
	}
	for name := range checks {
		if !have[name] {
			complain("block %s is missing", name)
		}
	}
	unlisted(fsys, seen, complain)
	slices.SortFunc(report.Blocks, func(a, b Block) int { return strings.Compare(a.Name, b.Name) })
	if len(problems) > 0 {
		slices.Sort(problems)
		return report, fmt.Errorf("%w: %s", ErrVectors, strings.Join(problems, "; "))
	}
	return report, nil
}

func unlisted(fsys fs.FS, seen map[string]bool, complain func(string, ...any)) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		complain("the directory cannot be listed")
	}
	for _, e := range entries {
		if !seen[e.Name()] && strings.HasSuffix(e.Name(), ".json") {
			complain("%s: not in the manifest", e.Name())
		}
	}
}

// readJSON decodes one file strictly, after checking its digest if want is not
// nil.
func readJSON(fsys fs.FS, name string, into any, want []byte) error {
	if !fs.ValidPath(name) || strings.Contains(name, "/") {
		return errors.New("not a file name")
	}
	f, err := fsys.Open(name)
	if err != nil {
		return errors.New("cannot be opened: is it missing?")
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil || len(raw) > maxFile {
		return errors.New("cannot be read, or is too large")
	}
	if sum := sha256.Sum256(raw); want != nil && !bytes.Equal(sum[:], want) {
		return errors.New("its SHA-256 is not the manifest's: it was changed")
	}
	return decodeStrict(raw, into)
}

// decodeStrict refuses unknown fields and trailing data. Numbers in any-typed
// fields stay as they are written.
func decodeStrict(raw []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("is not of the format: %w", err)
	}
	if d.More() {
		return errors.New("is not of the format: data follows")
	}
	return nil
}

func verifyFile(fsys fs.FS, f manifestFile) ([]Block, error) {
	sum, err := hex.DecodeString(f.SHA256)
	if err != nil || len(sum) != sha256.Size {
		return nil, errors.New("the manifest has no SHA-256 for it")
	}
	var v vectorFile
	if err := readJSON(fsys, f.Name, &v, sum); err != nil {
		return nil, err
	}
	if v.Format != formatVersion {
		return nil, fmt.Errorf("is of format %d, this program reads %d", v.Format, formatVersion)
	}
	var out []Block
	for _, name := range slices.Sorted(maps.Keys(f.Blocks)) {
		cases, ok := v.Blocks[name]
		check, known := checks[name]
		switch {
		case !known:
			return out, fmt.Errorf("block %s is unknown to this program", name)
		case !ok:
			return out, fmt.Errorf("block %s is missing", name)
		case len(cases) != f.Blocks[name] || len(cases) == 0:
			return out, fmt.Errorf("block %s has %d cases, the manifest says %d", name, len(cases), f.Blocks[name])
		}
		out = append(out, runBlock(f.Name, name, cases, check))
	}
	for name := range v.Blocks {
		if _, ok := f.Blocks[name]; !ok {
			return out, fmt.Errorf("block %s is not in the manifest", name)
		}
	}
	return out, nil
}

func runBlock(file, name string, cases []json.RawMessage, check func(json.RawMessage) error) Block {
	b := Block{File: file, Name: name}
	seen := map[string]bool{}
	for _, raw := range cases {
		var c struct {
			Name string `json:"name"`
		}
		err := json.Unmarshal(raw, &c)
		if err == nil && (c.Name == "" || seen[c.Name]) {
			err = errors.New("it has no name of its own")
		}
		if err == nil {
			err = check(raw)
		}
		seen[c.Name] = true
		if err != nil {
			b.Failed++
			b.Failures = append(b.Failures, Failure{c.Name, err.Error()})
			continue
		}
		b.Passed++
	}
	return b
}
