package testenv

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// MemcachedOptions configures a server; nil is one with memcached's defaults.
type MemcachedOptions struct {
	// TLS makes the server speak TLS alone, under a certificate of its own.
	TLS bool
	// Args are further arguments of the command line.
	Args []string
}

// MemcachedServer is a memcached. Its methods are for one goroutine at a time.
type MemcachedServer struct {
	t    testing.TB
	opts MemcachedOptions
	dir  string
	port int
	tls  *tls.Config
	args []string
	proc *Process
}

// Memcached starts a memcached, waits until it answers and stops it when the
// test ends.
func Memcached(t testing.TB, opts *MemcachedOptions) *MemcachedServer {
	t.Helper()
	RequireTool(t, "memcached")
	s := &MemcachedServer{t: t, dir: t.TempDir()}
	if opts != nil {
		s.opts = *opts
	}
	if s.opts.TLS {
		cert, key, config := certificate(t, s.dir)
		s.tls = config
		s.args = []string{"-Z", "-o", "ssl_chain_cert=" + cert + ",ssl_key=" + key}
	}
	t.Cleanup(s.Stop)
	var err error
	for range 5 {
		s.port = FreePorts(t, 1)[0]
		if err = s.start(); err == nil {
			return s
		}
	}
	t.Fatalf("start memcached: %v", err)
	return nil
}

// Start starts a stopped server again on its port. Its data are gone.
func (s *MemcachedServer) Start() {
	s.t.Helper()
	var err error
	for range 5 {
		if err = s.start(); err == nil {
			return
		}
	}
	s.t.Fatalf("restart memcached: %v", err)
}

func (s *MemcachedServer) start() error {
	path, err := exec.LookPath("memcached")
	if err != nil {
		return err
	}
	args := append([]string{"-l", "127.0.0.1", "-p", strconv.Itoa(s.port), "-U", "0"}, s.args...)
	if os.Geteuid() == 0 {
		args = append(args, "-u", "root") // it refuses to run as root otherwise
	}
	p, err := start(s.t, exec.Command(path, append(args, s.opts.Args...)...), filepath.Join(s.dir, "log"))
	if err != nil {
		return err
	}
	s.proc = p
	up := poll(startLimit, func() bool { return p.Exited() || s.answers() })
	if up && !p.Exited() {
		return nil
	}
	p.Stop()
	return fmt.Errorf("%s on port %d is not up; its log ends with:\n%s", p, s.port, p.Log())
}

// answers reports whether our own process listens on the port: if another test
// took it, the statistics show a foreign process id.
func (s *MemcachedServer) answers() bool {
	stats, err := s.try("stats")
	return err == nil && strings.Contains(stats, fmt.Sprintf("STAT pid %d\r\n", s.proc.PID()))
}

// Addr returns host:port.
func (s *MemcachedServer) Addr() string { return loopback(s.port) }

// TLSConfig returns a client configuration that trusts the server.
func (s *MemcachedServer) TLSConfig() *tls.Config { return s.tls.Clone() }

// Process returns the running server process.
func (s *MemcachedServer) Process() *Process { return s.proc }

// Stop kills the server. It may be called more than once.
func (s *MemcachedServer) Stop() {
	if s.proc != nil {
		s.proc.Stop()
	}
}

// Do sends one command, with its line ends inside but without the last, on a
// connection of its own and returns the answer as it came. An error of the
// connection fails the test.
func (s *MemcachedServer) Do(command string) string {
	s.t.Helper()
	answer, err := s.try(command)
	if err != nil {
		s.t.Fatalf("memcached: %v", err)
	}
	return answer
}

// try reads until the answer to a second command, of which nothing else can be
// the answer, and leaves that out.
func (s *MemcachedServer) try(command string) (string, error) {
	conn, err := net.DialTimeout("tcp", s.Addr(), time.Second)
	if err != nil {
		return "", err
	}
	if s.tls != nil {
		conn = tls.Client(conn, s.tls)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Write([]byte(command + "\r\nmn\r\n")); err != nil {
		return "", err
	}
	var answer strings.Builder
	for r := bufio.NewReader(conn); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", err
		}
		if line == "MN\r\n" {
			return answer.String(), nil
		}
		answer.WriteString(line)
	}
}

// Pause stops the server with SIGSTOP, as [Process.Pause] describes.
func (s *MemcachedServer) Pause() { s.t.Helper(); s.proc.Pause() }

// Resume lets a paused server continue.
func (s *MemcachedServer) Resume() { s.t.Helper(); s.proc.Resume() }
