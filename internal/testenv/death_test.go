package testenv_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

const orphanVar = "TESTENV_START_AND_WAIT"

// Rule: a server does not outlive a test binary that is killed.
func TestServerDiesWithTheTestBinary(t *testing.T) {
	if os.Getenv(orphanVar) != "" {
		fmt.Println("server:", testenv.Redis(t, nil).Addr())
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
		return
	}
	if runtime.GOOS != "linux" {
		t.Skip("only Linux kills the children of a dead process")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestServerDiesWithTheTestBinary$", "-test.v")
	cmd.Env = append(os.Environ(), orphanVar+"=1", "TMPDIR="+t.TempDir())
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addr := ""
	for lines := bufio.NewScanner(out); addr == "" && lines.Scan(); {
		_, addr, _ = strings.Cut(lines.Text(), "server: ")
	}
	if addr == "" || !testenv.Answers(addr) {
		t.Errorf("no server at %q", addr)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	testenv.Poll(t, 10*time.Second, "the server to die", func() bool { return !testenv.Answers(addr) })
}

// stub records how a test would end.
type stub struct {
	testing.TB
	skipped, failed string
}

func (s *stub) Helper()                   {}
func (s *stub) Skip(args ...any)          { s.skipped = fmt.Sprint(args...) }
func (s *stub) Fatalf(f string, a ...any) { s.failed = fmt.Sprintf(f, a...) }

// Rule: a missing tool skips with one line, and fails in CI.
func TestMissingTool(t *testing.T) {
	t.Setenv("CI", "")
	local := &stub{TB: t}
	testenv.RequireTool(local, "no-such-tool")
	if !strings.Contains(local.skipped, "make test") || strings.Contains(local.skipped, "\n") || local.failed != "" {
		t.Errorf("locally: %+v", local)
	}
	t.Setenv("CI", "true")
	ci := &stub{TB: t}
	testenv.RequireTool(ci, "no-such-tool")
	if ci.failed == "" {
		t.Error("in CI a missing tool does not fail the test")
	}
}
