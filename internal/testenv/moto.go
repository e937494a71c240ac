package testenv

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// motoRequirements pins moto's server and all that it needs, by hash (made by
// `uv pip compile --universal --generate-hashes` from moto[kms], flask and
// flask-cors).
//
//go:embed moto/requirements.txt
var motoRequirements []byte

// AWS starts moto's server, which speaks the AWS APIs and accepts any
// credentials, waits until it answers and stops it when the test ends. It
// returns the endpoint. The first use installs it from PyPI into .cache.
func AWS(t testing.TB) (endpoint string) {
	t.Helper()
	python := filepath.Join(motoVenv(t), "bin", "python")
	for range 3 {
		port := FreePorts(t, 1)[0]
		p := Start(t, exec.Command(python, "-m", "moto.server", "-H", "127.0.0.1", "-p", strconv.Itoa(port)))
		endpoint = "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if poll(2*startLimit, func() bool { return p.Exited() || motoAnswers(endpoint) }) && !p.Exited() {
			return endpoint
		}
		t.Logf("moto does not start; its log ends with:\n%s", p.Log())
	}
	t.Fatal("moto does not start")
	return ""
}

func motoAnswers(endpoint string) bool {
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get(endpoint + "/moto-api/data.json")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// motoVenv returns a virtual environment with moto. It is made aside and
// renamed, so that test binaries that run at once never see a half of one; its
// python does not mind, its scripts would.
func motoVenv(t testing.TB) string {
	t.Helper()
	python := RequireTool(t, "python3")
	version, err := exec.Command(python, "--version").CombinedOutput()
	if err != nil {
		Missing(t, "python3 does not run")
	}
	sum := sha256.Sum256(append(version, motoRequirements...))
	cache := filepath.Join(ModuleRoot(t), ".cache")
	dir := filepath.Join(cache, "moto-"+hex.EncodeToString(sum[:6]))
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	aside, err := os.MkdirTemp(cache, "moto-new-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(aside)
	if err := installMoto(python, aside); err != nil {
		Missing(t, "moto cannot be installed: "+err.Error())
	}
	if err := os.Rename(aside, dir); err != nil {
		if _, serr := os.Stat(dir); serr != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func installMoto(python, dir string) error {
	requirements := filepath.Join(dir, "requirements.txt")
	if err := os.WriteFile(requirements, motoRequirements, 0o600); err != nil {
		return err
	}
	for _, args := range [][]string{
		{python, "-m", "venv", dir},
		{filepath.Join(dir, "bin", "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input",
			"--only-binary", ":all:", "--require-hashes", "--requirement", requirements},
	} {
		if out, err := exec.Command("nice", append([]string{"-n", "10"}, args...)...).CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, firstLine(out))
		}
	}
	return nil
}
