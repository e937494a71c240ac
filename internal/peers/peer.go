package peers

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// callTimeout bounds one request; a peer that takes longer has hung.
const callTimeout = 30 * time.Second

// Peer is a running peer. Its methods are safe for concurrent use, one request
// at a time.
type Peer struct {
	t      testing.TB
	name   string
	cmd    *exec.Cmd
	in     io.WriteCloser
	lines  chan []byte // replies; closed when the peer's output ends
	stderr tail

	mu     sync.Mutex
	stores int
}

// Error is a failure that the peer's SDK reported.
type Error struct {
	// Type is the class of a Python exception, or the variant of a CachekitError.
	Type string `json:"type"`
	// Text is its message.
	Text string `json:"text"`
}

// Error returns type and text.
func (e *Error) Error() string { return "peer: " + e.Type + ": " + e.Text }

// start runs cmd as a peer until the test ends. The variables of env ("NAME=value")
// are added to an environment without any of the family's own.
func start(t testing.TB, cmd *exec.Cmd, env []string) *Peer {
	t.Helper()
	p := &Peer{t: t, name: filepath.Base(cmd.Path), cmd: cmd, lines: make(chan []byte)}
	cmd.Env = append(cleanEnv(), env...)
	cmd.Stderr = &p.stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatalf("start %s: %v", p.name, err)
	}
	p.in = in
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatalf("start %s: %v", p.name, err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", p.name, err)
	}
	go p.read(out)
	t.Cleanup(p.stop)
	return p
}

func (p *Peer) read(out io.Reader) {
	defer close(p.lines)
	r := bufio.NewReader(out)
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return
		}
		p.lines <- line
	}
}

// stop ends the peer's input, which ends the peer.
func (p *Peer) stop() {
	p.in.Close()
	limit := time.AfterFunc(callTimeout, func() { _ = p.cmd.Process.Kill() })
	defer limit.Stop()
	for range p.lines {
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("%s: %v\n%s", p.name, err, p.stderr.String())
	}
}

// call sends request and stores the result of the reply in result, unless that
// is nil. The error is an *Error if the SDK refused, any other if the peer died,
// hung or was misused.
func (p *Peer) call(request map[string]any, result any) error {
	line, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("peer: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("%s: %w\n%s", p.name, err, p.stderr.String())
	}
	limit := time.NewTimer(callTimeout)
	defer limit.Stop()
	select {
	case line, ok := <-p.lines:
		if !ok {
			return fmt.Errorf("%s ended during %v\n%s", p.name, request["op"], p.stderr.String())
		}
		return parseReply(line, result)
	case <-limit.C:
		_ = p.cmd.Process.Kill()
		return fmt.Errorf("%s did not answer %v within %v\n%s", p.name, request["op"], callTimeout, p.stderr.String())
	}
}

func parseReply(line []byte, result any) error {
	var reply struct {
		OK    json.RawMessage `json:"ok"`
		Error *Error          `json:"error"`
	}
	if err := json.Unmarshal(line, &reply); err != nil {
		return fmt.Errorf("peer: reply: %w", err)
	}
	if reply.Error != nil {
		return reply.Error
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(reply.OK, result)
}

// cleanEnv returns the environment without the variables that configure an SDK.
func cleanEnv() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "CACHEKIT_") && !strings.HasPrefix(v, "REDIS_") {
			env = append(env, v)
		}
	}
	return env
}

// tail keeps the last bytes written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailBytes = 4096

func (w *tail) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf = append(w.buf, b...)
	if over := len(w.buf) - tailBytes; over > 0 {
		w.buf = w.buf[over:]
	}
	return len(b), nil
}

func (w *tail) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(bytes.TrimSpace(w.buf))
}
