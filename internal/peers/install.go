package peers

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// Python starts the Python peer with the given variables ("NAME=value") in its
// environment, and stops it when the test ends. The first use of a version of
// python3 or of the requirements installs the SDK into a virtual environment.
func Python(t testing.TB, env ...string) *Peer {
	t.Helper()
	python, dir := pythonVenv(t)
	return start(t, exec.Command(python, filepath.Join(dir, "peer.py")), env)
}

// Rust builds the Rust peer, which takes minutes the first time, starts it with
// the given variables and stops it when the test ends.
func Rust(t testing.TB, env ...string) *Peer {
	t.Helper()
	return start(t, exec.Command(rustBinary(t)), env)
}

// pythonVenv returns the interpreter of the virtual environment and the
// directory of the peer's source.
func pythonVenv(t testing.TB) (python, dir string) {
	t.Helper()
	python3 := testenv.RequireTool(t, "python3")
	version, err := exec.Command(python3, "-c", "import sys; print(sys.version, sys.version_info >= (3, 10))").CombinedOutput()
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(version)), "True") {
		testenv.Missing(t, "the Python peer needs python3 of 3.10 or later")
	}
	root := testenv.ModuleRoot(t)
	dir = filepath.Join(root, "internal", "peers", "python")
	requirements := filepath.Join(dir, "requirements.txt")
	text, err := os.ReadFile(requirements)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(append(version, text...))
	venv := filepath.Join(root, ".cache", "python-"+hex.EncodeToString(sum[:6]))
	python = filepath.Join(venv, "bin", "python")
	defer lock(t, venv+".lock")()
	installed := filepath.Join(venv, "installed")
	if _, err := os.Stat(installed); err == nil {
		return python, dir
	}
	if err := os.RemoveAll(venv); err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []*exec.Cmd{
		exec.Command(python3, "-m", "venv", venv),
		exec.Command(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input",
			"--only-binary", ":all:", "--require-hashes", "--requirement", requirements),
	} {
		if out, err := cmd.CombinedOutput(); err != nil {
			testenv.Missing(t, "the Python peer cannot be installed ("+strings.Join(cmd.Args[1:4], " ")+"): "+lastLine(out))
		}
	}
	if err := os.WriteFile(installed, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return python, dir
}

// rustBinary builds the Rust peer and returns its path. cargo itself excludes
// builds that run at the same time.
func rustBinary(t testing.TB) string {
	t.Helper()
	cargo := testenv.RequireTool(t, "cargo")
	root := testenv.ModuleRoot(t)
	target := filepath.Join(root, ".cache", "rust")
	cmd := exec.Command(cargo, "build", "--quiet", "--release", "--locked", "--target-dir", target,
		"--manifest-path", filepath.Join(root, "internal", "peers", "rust", "Cargo.toml"))
	if out, err := cmd.CombinedOutput(); err != nil {
		testenv.Missing(t, "the Rust peer does not build: "+lastLine(out))
	}
	return filepath.Join(target, "release", "peer")
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}
