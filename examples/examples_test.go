package examples_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// goRun runs a program of this module and returns what it prints.
func goRun(t *testing.T, program string, env ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "run", program)
	cmd.Env = append(os.Environ(), env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("go run %s: %v\n%s", program, err, out.String())
	}
	return out.String()
}

// wants checks the four lines that both examples end up with, and that none of
// what they print of the storage shows the value.
func wants(t *testing.T, out string) {
	t.Helper()
	for _, want := range []string{"stored   {Name:Ada Lovelace", "read     {Name:Ada Lovelace Email:ada@example.org} (found: true)", "tampered secure: get entry", "failed authentication"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not printed:\n%s", want, out)
		}
	}
	for line := range strings.Lines(out) {
		if regexp.MustCompile(`^[0-9a-f]{8}  `).MatchString(line) && strings.Contains(line, "Ada") {
			t.Errorf("the storage holds the value in clear: %s", line)
		}
	}
}

func TestQuickstart(t *testing.T) { wants(t, goRun(t, "./quickstart")) }

func TestRedis(t *testing.T) {
	wants(t, goRun(t, "./redis", "CACHEKIT_REDIS_URL="+testenv.Redis(t, nil).URL()))
}

func TestHTTP(t *testing.T) {
	wants(t, goRun(t, "./http", "CACHEKIT_HTTP_URL=http://"+testenv.Nginx(t, nil).Addr()+"/{key}"))
}

func TestIO(t *testing.T) {
	out := goRun(t, "./io")
	wants(t, out)
	if !strings.Contains(out, "served   yesterday's report\n") || !strings.HasPrefix(out[strings.LastIndex(out, "served"):], "served   today's report\n") {
		t.Errorf("the stale entry is not served, or not loaded anew:\n%s", out)
	}
}

func TestCustomBackend(t *testing.T) {
	out := goRun(t, "./custombackend")
	for _, want := range []string{"read     Ada Lovelace (found: true)", "refused  secure: set entry"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not printed:\n%s", want, out)
		}
	}
}

func TestDynamoDB(t *testing.T) {
	wants(t, goRun(t, "./dynamodb", "AWS_ENDPOINT_URL_DYNAMODB="+testenv.DynamoDB(t).URL(), "AWS_REGION=local",
		"AWS_ACCESS_KEY_ID=any", "AWS_SECRET_ACCESS_KEY=any", "AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull))
}

func TestMemcached(t *testing.T) {
	wants(t, goRun(t, "./memcached", "CACHEKIT_MEMCACHED_SERVERS="+testenv.Memcached(t, nil).Addr()+","+testenv.Memcached(t, nil).Addr()))
}

func TestRotation(t *testing.T) {
	out := goRun(t, "./rotation")
	for _, want := range []string{"before", "staged", "promoted", "retired", "destroyed"} {
		if !regexp.MustCompile(want + ` +read Ada Lovelace; .*\(current\) served [1-9]`).MatchString(out) {
			t.Errorf("%q is not printed:\n%s", want, out)
		}
	}
	if regexp.MustCompile(`[0-9a-f]{32}`).MatchString(out) {
		t.Errorf("it prints what may be a key:\n%s", out)
	}
}

// The walk-through of docs/key-rotation.md must run as pasted, in a shell at the
// root of the repository and beside a Redis.
func TestRotationWalkThrough(t *testing.T) {
	bin := t.TempDir()
	out := shell(t, "..", shellBlock(t, "../docs/key-rotation.md", "go install ./cmd/keytool"), "GOBIN="+bin, "PATH="+bin+":"+os.Getenv("PATH"),
		"TMPDIR="+t.TempDir(), "CACHEKIT_REDIS_URL="+testenv.Redis(t, nil).URL())
	if !strings.Contains(out, "done  destroy") {
		t.Errorf("it prints %s", out)
	}
}

// So must README.md's, whose files go to a directory of the test's own.
func TestReadmeRotation(t *testing.T) {
	const build = "go build -o bin/keytool ./cmd/keytool"
	dir := t.TempDir()
	block := shellBlock(t, "../README.md", build)
	shell(t, "..", strings.ReplaceAll(build, "bin/keytool", filepath.Join(dir, "bin", "keytool")))
	if out := shell(t, dir, strings.TrimPrefix(block, build)); !strings.Contains(out, "next  retire") {
		t.Errorf("it prints %s", out)
	}
}

// shellBlock returns the shell block of a page that begins with a command.
func shellBlock(t *testing.T, page, first string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```sh\n(" + regexp.QuoteMeta(first) + ".*?)```").FindSubmatch(text)
	if block == nil {
		t.Fatalf("%s has no block that begins with %q", page, first)
	}
	return string(block[1])
}

func shell(t *testing.T, dir, script string, env ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-eu", "-c", script)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// The program in README.md must work as pasted.
func TestReadmeProgram(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```go\n(package main.*?)```").FindSubmatch(readme)
	if block == nil {
		t.Fatal("README.md has no program")
	}
	dir, err := os.MkdirTemp(".", "_readme-") // an underscore hides it from ./...
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.WriteFile(filepath.Join(dir, "main.go"), block[1], 0o600); err != nil {
		t.Fatal(err)
	}
	out := goRun(t, "./"+dir, "CACHEKIT_MASTER_KEY="+strings.Repeat("1", 64), "CACHEKIT_FILE_CACHE_DIR="+filepath.Join(t.TempDir(), "cache"))
	if !strings.Contains(out, "map[name:Ada] <nil>") {
		t.Errorf("it prints %s", out)
	}
	if n := bytes.Index(readme, []byte("go run ./examples/quickstart")); n < 0 || n > bytes.Index(readme, []byte("make test")) {
		t.Error("README.md does not begin with the two commands")
	}
}
