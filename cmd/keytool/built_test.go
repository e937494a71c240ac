//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
)

var (
	buildOnce sync.Once
	buildDir  string
	buildErr  error
)

// buildTool returns the path of the tool as a user builds it.
func buildTool(t testing.TB) string {
	t.Helper()
	buildOnce.Do(func() {
		if buildDir, buildErr = os.MkdirTemp("", "keytool"); buildErr != nil {
			return
		}
		if out, err := exec.Command("go", "build", "-o", filepath.Join(buildDir, "keytool"), ".").CombinedOutput(); err != nil {
			buildErr = fmt.Errorf("%w: %s", err, out)
		}
	})
	if buildErr != nil {
		t.Fatal(buildErr)
	}
	return filepath.Join(buildDir, "keytool")
}

// command is a run of the tool in dir with no variable of the family but env.
func command(t testing.TB, dir string, env []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(buildTool(t), args...)
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TERM=xterm"}, env...)
	return cmd
}

// tool runs the tool to its end and returns what it printed and its exit code.
func tool(t testing.TB, dir string, env []string, args ...string) (out, errs string, exit int) {
	t.Helper()
	cmd := command(t, dir, env, args...)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	exit = exitOf(t, cmd.Run())
	return o.String(), e.String(), exit
}

func exitOf(t testing.TB, err error) int {
	t.Helper()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	t.Fatal(err)
	return -1
}

// must runs the tool, which must succeed, and returns its output.
func must(t testing.TB, dir string, env []string, args ...string) string {
	t.Helper()
	out, errs, exit := tool(t, dir, env, args...)
	if exit != 0 {
		t.Fatalf("keytool %v ended with %d\n%s%s", args, exit, out, errs)
	}
	return out
}

// The KMS clients and everything else that is linked cost no time that a person
// notices: 50 ms are the bound, taken as time of the processor, which a busy
// machine does not change much.
func TestStartup(t *testing.T) {
	best := time.Hour
	for range 10 {
		cmd := command(t, t.TempDir(), nil, "version")
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		best = min(best, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	}
	t.Logf("keytool version takes %v of the processor", best)
	if best > 50*time.Millisecond {
		t.Errorf("start-up takes %v, want 50ms at most", best)
	}
}

// No run has a key or a passphrase among its arguments, where every user of the
// machine could read it, and none starts another process that could.
func TestNoKeyInArguments(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	dir, key := t.TempDir(), strings.Repeat("5a", 32)
	for name, text := range map[string]string{"ops.agekey": id.String(), "key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{"CACHEKIT_KEYRING=ring.json", "CACHEKIT_KEYRING_IDENTITY_FILE=ops.agekey", "CACHEKIT_FILE_CACHE_DIR=" + filepath.Join(dir, "cache")}
	seen := 0
	for _, line := range []string{
		"generate", "generate -o new.key", "fingerprint --key-file key", "keyring init", "keyring stage --key-file key",
		"rotate --step promote --deployed-at now", "keyring show", "keyring export -o cachekit.env", "fingerprint", "doctor",
	} {
		cmd := command(t, dir, env, strings.Fields(line)...)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		for running := true; running; {
			select {
			case err := <-done:
				if running = false; err != nil {
					t.Errorf("keytool %s: %v\n%s", line, err, &out)
				}
			default:
				seen += look(t, cmd.Process.Pid, key, id.String())
				time.Sleep(time.Millisecond)
			}
		}
	}
	if seen == 0 {
		t.Error("no run was seen: this test saw nothing")
	}
}

// look checks the arguments of a process, and that it has no children.
func look(t *testing.T, pid int, secrets ...string) (seen int) {
	t.Helper()
	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(args) == 0 {
		return 0 // it is gone
	}
	for _, s := range secrets {
		if bytes.Contains(args, []byte(s)) {
			t.Errorf("the arguments hold a secret: %q", args)
		}
	}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, name := range tasks {
		if children, err := os.ReadFile(name); err == nil && len(children) > 0 {
			t.Errorf("it has started another process: %s", children)
		}
	}
	return 1
}

// What looks like a key is not repeated when it comes as an argument by mistake.
func TestArgumentsAreNotRepeated(t *testing.T) {
	key := strings.Repeat("5a", 32)
	for _, command := range [][]string{{"fingerprint", key}, {"generate", key}, {"audit", key}, {"keyring", "stage", key}, {"keyring", "import", key}} {
		out, errs, exit := tool(t, t.TempDir(), nil, command...)
		if exit != 2 || strings.Contains(out+errs, key) {
			t.Errorf("keytool %v ends with %d and says %s", command[:len(command)-1], exit, errs)
		}
	}
}

func stopped(err error, by syscall.Signal) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == by
}
