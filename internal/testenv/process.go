package testenv

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// Process is a child process of the test binary. Its methods are for one
// goroutine at a time.
type Process struct {
	t     testing.TB
	cmd   *exec.Cmd
	log   string
	done  chan struct{}
	clock *processClock
}

// Start runs cmd with its output in a log file and stops it when the test ends.
// It fails the test if the program cannot be executed.
func Start(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	p, err := start(t, cmd, filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatalf("start %s: %v", filepath.Base(cmd.Path), err)
	}
	t.Cleanup(p.Stop)
	return p
}

// start keeps the thread that forks for as long as the child lives: Linux sends
// the parent-death signal when that thread ends, not when the process does.
func start(t testing.TB, cmd *exec.Cmd, log string) (*Process, error) {
	f, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	dieWithParent(cmd)
	p := &Process{t: t, cmd: cmd, log: log, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Stop kills the process and waits until it is gone. It may be called more
// than once.
func (p *Process) Stop() {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("kill %s: %v", p, err)
	}
	<-p.done
}

// Pause stops the process with SIGSTOP: the kernel goes on accepting its
// connections and queueing their bytes. It returns once every thread stands
// still.
func (p *Process) Pause() {
	p.t.Helper()
	p.signal("SIGSTOP", sigStop)
	if !poll(5*time.Second, func() bool { return paused(p.PID()) }) {
		p.t.Fatalf("%s did not stop on SIGSTOP", p)
	}
}

// Resume lets a paused process continue.
func (p *Process) Resume() {
	p.t.Helper()
	p.signal("SIGCONT", sigCont)
}

func (p *Process) signal(name string, sig os.Signal) {
	p.t.Helper()
	if sig == nil {
		Missing(p.t, name+" does not exist on "+runtime.GOOS)
	}
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatalf("%s %s: %v", name, p, err)
	}
}

// Exited reports whether the process has ended.
func (p *Process) Exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Log returns the last lines of what the process wrote.
func (p *Process) Log() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	const tail = 20
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-tail):], []byte("\n")))
}

// String names the program and its process id.
func (p *Process) String() string {
	return fmt.Sprintf("%s (pid %d)", filepath.Base(p.cmd.Path), p.PID())
}
