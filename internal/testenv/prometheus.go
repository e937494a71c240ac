package testenv

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Prometheus starts a Prometheus with that configuration, waits until it answers,
// and stops it when the test ends. It returns the URL of its API.
func Prometheus(t testing.TB, config string) (url string) {
	t.Helper()
	path, dir := RequireTool(t, "prometheus"), t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		addr := loopback(FreePorts(t, 1)[0])
		p, err := start(t, exec.Command(path, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"),
			"--web.listen-address="+addr, "--log.level=warn"), filepath.Join(dir, "log"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Stop)
		url = "http://" + addr
		if poll(startLimit, func() bool { return p.Exited() || ready(url+"/-/ready") }) && !p.Exited() {
			return url
		}
		p.Stop()
		t.Logf("%s is not up; its log ends with:\n%s", p, p.Log())
	}
	t.Fatal("prometheus does not start")
	return ""
}

func ready(url string) bool {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
