//go:build linux

package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/secure"
)

// person is someone at a pseudo-terminal on which the tool runs.
type person struct {
	t   *testing.T
	cmd *exec.Cmd
	tty *os.File

	mu   sync.Mutex
	seen bytes.Buffer
	end  chan struct{}
}

func sitDown(t *testing.T, cmd *exec.Cmd) *person {
	t.Helper()
	tty, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	p := &person{t: t, cmd: cmd, tty: tty, end: make(chan struct{})}
	t.Cleanup(func() { tty.Close() })
	go func() {
		defer close(p.end)
		_, _ = io.Copy(p, tty) // which ends in an error when the tool does
	}()
	return p
}

// Write takes what the terminal shows.
func (p *person) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen.Write(b)
}

func (p *person) screen() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen.String()
}

// answer waits for a prompt, and for the echo to be off, before it types.
func (p *person) answer(prompt, text string) {
	p.t.Helper()
	testenv.Poll(p.t, 20*time.Second, prompt, func() bool { return strings.Contains(p.screen(), prompt) && !p.echoes() })
	if _, err := p.tty.WriteString(text); err != nil {
		p.t.Fatal(err)
	}
}

func (p *person) echoes() bool {
	state, err := unix.IoctlGetTermios(int(p.tty.Fd()), unix.TCGETS)
	if err != nil {
		p.t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// leave waits for the end of the tool, checks that the terminal is as it was,
// and returns the exit code.
func (p *person) leave() int {
	p.t.Helper()
	err := p.cmd.Wait()
	if !p.echoes() {
		p.t.Error("the terminal's echo is off")
	}
	<-p.end
	return exitOf(p.t, err)
}

// Rule: a passphrase is asked for twice to make a file and once to open it, and
// is never shown.
func TestPassphraseOnTerminal(t *testing.T) {
	const secret = "correct horse battery staple"
	dir := t.TempDir()
	p := sitDown(t, command(t, dir, nil, "keyring", "init", "--keyring", "ring.json"))
	p.answer("Passphrase for ring.json: ", secret+"\n")
	p.answer("Passphrase for ring.json, again: ", secret+"\n")
	if exit := p.leave(); exit != 0 || !strings.Contains(p.screen(), "generation 1, passphrase") {
		t.Fatalf("init ends with %d: %s", exit, p.screen())
	}
	screens := p.screen()
	p = sitDown(t, command(t, dir, nil, "keyring", "show", "--keyring", "ring.json"))
	p.answer("Passphrase of ring.json: ", secret+"\n")
	if exit := p.leave(); exit != 0 || !strings.Contains(p.screen(), "current") || strings.Contains(p.screen(), "again") {
		t.Fatalf("show ends with %d: %s", exit, p.screen())
	}
	if screens += p.screen(); strings.Contains(screens, secret) {
		t.Errorf("the passphrase is shown: %s", screens)
	}
}

func TestPassphraseRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		first, second, says string
	}{
		"two that differ": {"one\n", "two\n", "the two passphrases differ"},
		"none":            {"\n", "\n", "passphrase"},
		"^C":              {"\x03", "", "interrupted: nothing was written"},
		"^C, later":       {"one\n", "\x03", "interrupted: nothing was written"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			p := sitDown(t, command(t, dir, nil, "keyring", "init", "--keyring", "ring.json"))
			p.answer("Passphrase for ring.json: ", c.first)
			if c.second != "" {
				p.answer("again: ", c.second)
			}
			if exit := p.leave(); exit != 2 || !strings.Contains(p.screen(), c.says) {
				t.Errorf("init ends with %d: %s", exit, p.screen())
			}
			if _, err := os.Lstat(filepath.Join(dir, "ring.json")); err == nil {
				t.Error("a file was written")
			}
		})
	}
}

// A key on standard input would be shown while it is typed.
func TestNoSecretTypedInTheOpen(t *testing.T) {
	p := sitDown(t, command(t, t.TempDir(), nil, "fingerprint", "--key-file", "-"))
	if exit := p.leave(); exit != 2 || !strings.Contains(p.screen(), "standard input is a terminal") {
		t.Errorf("fingerprint ends with %d: %s", exit, p.screen())
	}
}

// fleet is a Redis with entries under an old key, and the environment of one
// that rotates to a new one.
func fleet(t *testing.T, entries int) (server *testenv.RedisServer, env []string) {
	t.Helper()
	server = testenv.Redis(t, nil)
	old := strings.Repeat("a", 64)
	key, err := keys.Hex(old)
	if err != nil {
		t.Fatal(err)
	}
	b, err := redisbackend.Open(t.Context(), server.URL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	c, err := secure.New(t.Context(), &secure.Options{Backend: b, MasterKey: key, NoL1: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	all := map[string]int{}
	for i := range entries {
		all[strconv.Itoa(i)] = i
	}
	if err := secure.For[int](c).SetMany(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	return server, []string{"CACHEKIT_REDIS_URL=" + server.URL(), "CACHEKIT_MASTER_KEY=" + strings.Repeat("b", 64), "CACHEKIT_PREVIOUS_MASTER_KEYS=" + old}
}

// Rule: a line that is written over on a terminal, and no escape anywhere else.
func TestProgress(t *testing.T) {
	_, env := fleet(t, 3000)
	args := []string{"reencrypt", "--rate", "4000", "--parallel", "1"}
	p := sitDown(t, command(t, t.TempDir(), env, args...))
	if exit := p.leave(); exit != 0 || !regexp.MustCompile(`\x1b\[K\d+ entries, \d+ under an old key`).MatchString(p.screen()) {
		t.Errorf("on a terminal it ends with %d: %q", exit, p.screen())
	}
	for name, more := range map[string][]string{"NO_COLOR": {"NO_COLOR=1"}, "a dumb terminal": {"TERM=dumb"}} {
		p := sitDown(t, command(t, t.TempDir(), append(env, more...), args...))
		if exit := p.leave(); exit != 0 || strings.Contains(p.screen(), "\x1b") {
			t.Errorf("with %s it ends with %d: %q", name, exit, p.screen())
		}
	}
	for _, flag := range []string{"--json", "--quiet"} {
		p := sitDown(t, command(t, t.TempDir(), env, append(args, flag)...))
		if exit := p.leave(); exit != 0 || strings.Contains(p.screen(), "\x1b") {
			t.Errorf("with %s it ends with %d: %q", flag, exit, p.screen())
		}
	}
	out, errs, exit := tool(t, t.TempDir(), env, args...)
	if exit != 0 || strings.Contains(out+errs, "\x1b") || errs != "" {
		t.Errorf("in a pipe it ends with %d: %q %q", exit, out, errs)
	}
}

// Rule: the first SIGINT finishes what is in hand, ends with 4 and says how to
// go on; going on so finishes the work.
func TestInterruptAndResume(t *testing.T) {
	_, env := fleet(t, 6000)
	cmd := command(t, t.TempDir(), env, "reencrypt", "--apply", "--rate", "5000", "--parallel", "1")
	p := sitDown(t, cmd)
	testenv.Poll(t, 20*time.Second, "two pages", func() bool { return regexp.MustCompile(`[2-4][0-9]{3} entries`).MatchString(p.screen()) })
	if _, err := p.tty.WriteString("\x03"); err != nil {
		t.Fatal(err)
	}
	exit := p.leave()
	m := regexp.MustCompile(`go on with --cursor "([^"]+)"`).FindStringSubmatch(p.screen())
	if exit != 4 || m == nil {
		t.Fatalf("it ends with %d: %s", exit, p.screen())
	}
	if _, _, exit := tool(t, t.TempDir(), env, "audit"); exit != 1 {
		t.Errorf("the audit meanwhile ends with %d, want 1", exit)
	}
	if out, errs, exit := tool(t, t.TempDir(), env, "reencrypt", "--apply", "--cursor", m[1]); exit != 0 {
		t.Errorf("going on ends with %d: %s%s", exit, out, errs)
	}
	if out := must(t, t.TempDir(), env, "audit"); !regexp.MustCompile(`current +6000 under`).MatchString(out) {
		t.Errorf("the audit afterwards: %s", out)
	}
}

// Rule: the second SIGINT ends a run that cannot finish what it has in hand.
func TestSecondInterrupt(t *testing.T) {
	server, env := fleet(t, 50)
	proxy := testenv.Proxy(t, server.Addr())
	env[0] = "CACHEKIT_REDIS_URL=redis://" + proxy.Addr()
	cmd := command(t, t.TempDir(), env, "reencrypt", "--apply", "--rate", "10", "--parallel", "1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	testenv.Poll(t, 20*time.Second, "the first entries", func() bool { return len(proxy.Received()) > 500 })
	proxy.Stall()
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	time.Sleep(300 * time.Millisecond)
	_ = cmd.Process.Signal(os.Interrupt)
	select {
	case err := <-done:
		t.Logf("the entry in hand was done already: %v", err)
		return
	case <-time.After(200 * time.Millisecond):
	}
	_ = cmd.Process.Signal(os.Interrupt)
	select {
	case err := <-done:
		if !stopped(err, syscall.SIGINT) {
			t.Errorf("it ended with %v, want the signal", err)
		}
	case <-time.After(10 * time.Second):
		_ = cmd.Process.Kill()
		t.Error("it did not end")
	}
}
