package peers

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// Measurements are the names that the peers measure, all with values of 1 KiB:
// an encrypted hit in L1 decoded into a value (Rust: of 500 keys in turn); one
// caller and 16 callers on Redis; 100 gets at once on Redis (one operation is all
// of them); files.
func Measurements() []string {
	return []string{"L1Hit", "RedisGet", "RedisSet", "RedisGet16", "RedisSet16", "RedisGet100", "FileGet", "FileSet"}
}

// Figures is one measurement of a peer.
type Figures struct {
	Name string `json:"name"`
	// NsPerOp is wall time by operations, over all callers.
	NsPerOp float64 `json:"ns"`
	// P50Micros is the median latency in microseconds; 0 where none was taken.
	P50Micros float64 `json:"p50_us"`
}

// MeasurePython measures the Python SDK for d per name, on the Redis server at url
// and in the directory dir, in a process of its own. Without names it measures
// all. Run it beside nothing else; what it inherits of CPU affinity, it keeps.
func MeasurePython(t testing.TB, url, dir string, d time.Duration, names ...string) []Figures {
	t.Helper()
	python, source := pythonVenv(t)
	return measure(t, exec.Command(python, filepath.Join(source, "bench.py")), url, dir, d, names)
}

// MeasureRust is MeasurePython for the Rust SDK, which it builds first.
func MeasureRust(t testing.TB, url, dir string, d time.Duration, names ...string) []Figures {
	t.Helper()
	return measure(t, exec.Command(rustBinary(t), "bench"), url, dir, d, names)
}

func measure(t testing.TB, cmd *exec.Cmd, url, dir string, d time.Duration, names []string) []Figures {
	t.Helper()
	if len(names) == 0 {
		names = Measurements()
	}
	cmd.Args = append(cmd.Args, url, dir, strconv.FormatFloat(d.Seconds(), 'f', -1, 64))
	cmd.Args = append(cmd.Args, names...)
	cmd.Env = cleanEnv()
	var stderr tail
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", filepath.Base(cmd.Path), err, stderr.String())
	}
	all := make([]Figures, len(names))
	for i, line := range bytes.Split(bytes.TrimSpace(out), []byte("\n")) {
		if err := json.Unmarshal(line, &all[i]); err != nil {
			t.Fatalf("%s: %q: %v", filepath.Base(cmd.Path), line, err)
		}
	}
	return all
}
