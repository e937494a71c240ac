package testenv

import (
	"crypto/tls"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// RedisOptions configures a server; nil is one without a password.
type RedisOptions struct {
	// Password is what clients must send (requirepass), "" for none.
	Password string
	// TLS adds a port that speaks TLS, under a certificate of its own.
	TLS bool
	// Config holds further settings as they stand in redis.conf, one a line.
	Config []string
}

// RedisServer is a redis-server without persistence. Its methods are for one
// goroutine at a time.
type RedisServer struct {
	t        testing.TB
	opts     RedisOptions
	dir      string
	port     int
	busPort  int // or the TLS port
	tls      *tls.Config
	tlsLines []string
	sentinel bool
	proc     *Process
}

// startLimit bounds the start of a server on a machine that is busy with
// other tests.
const startLimit = 20 * time.Second

// Redis starts a redis-server, waits until it answers and stops it when the
// test ends.
func Redis(t testing.TB, opts *RedisOptions) *RedisServer {
	t.Helper()
	s := newRedis(t, opts)
	s.launch()
	return s
}

func newRedis(t testing.TB, opts *RedisOptions) *RedisServer {
	t.Helper()
	RequireTool(t, "redis-server")
	// Not t.TempDir: the path of a Unix socket is limited to about 100 bytes.
	dir, err := os.MkdirTemp("", "redis")
	if err != nil {
		t.Fatal(err)
	}
	s := &RedisServer{t: t, dir: dir}
	if opts != nil {
		s.opts = *opts
	}
	if s.opts.TLS {
		cert, key, config := certificate(t, dir)
		s.tls = config
		s.tlsLines = []string{"tls-port ${BUSPORT}", "tls-cert-file " + cert, "tls-key-file " + key, "tls-auth-clients no"}
	}
	t.Cleanup(func() {
		s.Stop()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return s
}

// launch starts the server on ports of its own choice, and on others if
// somebody else was faster.
func (s *RedisServer) launch() {
	s.t.Helper()
	var err error
	for range 5 {
		ports := FreePorts(s.t, 2)
		s.port, s.busPort = ports[0], ports[1]
		if err = s.start(); err == nil {
			return
		}
	}
	s.t.Fatalf("start redis-server: %v", err)
}

// Start starts a stopped server again on its port. Its data are gone.
func (s *RedisServer) Start() {
	s.t.Helper()
	var err error
	for range 5 {
		if err = s.start(); err == nil {
			return
		}
	}
	s.t.Fatalf("restart redis-server: %v", err)
}

func (s *RedisServer) start() error {
	conf := filepath.Join(s.dir, "redis.conf")
	if err := os.WriteFile(conf, []byte(s.config()), 0o600); err != nil {
		return err
	}
	args := []string{conf}
	if s.sentinel {
		args = append(args, "--sentinel")
	}
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return err
	}
	p, err := start(s.t, exec.Command(path, args...), filepath.Join(s.dir, "log"))
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

func (s *RedisServer) config() string {
	lines := []string{
		"bind 127.0.0.1",
		"port " + strconv.Itoa(s.port),
		"dir " + s.dir,
		"protected-mode no",
		"daemonize no",
	}
	if !s.sentinel {
		lines = append(lines,
			`save ""`,
			"appendonly no",
			"repl-diskless-sync-delay 0",
			"unixsocket "+s.Socket(),
			"unixsocketperm 700",
		)
	}
	if s.opts.Password != "" {
		lines = append(lines, "requirepass "+s.opts.Password, "masterauth "+s.opts.Password)
	}
	for _, line := range slices.Concat(s.tlsLines, s.opts.Config) {
		lines = append(lines, strings.ReplaceAll(line, "${BUSPORT}", strconv.Itoa(s.busPort)))
	}
	return strings.Join(lines, "\n") + "\n"
}

// answers reports whether our own process listens on the port: if another test
// took it, INFO shows a foreign process id.
func (s *RedisServer) answers() bool {
	info, err := s.try("INFO", "server")
	return err == nil && strings.Contains(fmt.Sprint(info), fmt.Sprintf("\r\nprocess_id:%d\r\n", s.proc.PID()))
}

// Addr returns host:port.
func (s *RedisServer) Addr() string { return loopback(s.port) }

// TLSAddr returns host:port of the TLS port.
func (s *RedisServer) TLSAddr() string { return loopback(s.busPort) }

// TLSConfig returns a client configuration that trusts the server.
func (s *RedisServer) TLSConfig() *tls.Config { return s.tls.Clone() }

// Socket returns the path of the Unix socket.
func (s *RedisServer) Socket() string { return filepath.Join(s.dir, "s") }

// URL returns the server's redis:// URL, with the password if it has one.
func (s *RedisServer) URL() string { return s.URLAt(s.Addr()) }

// URLAt returns the URL with another host:port, that of a proxy.
func (s *RedisServer) URLAt(addr string) string {
	u := url.URL{Scheme: "redis", Host: addr, Path: "/0"}
	if s.opts.Password != "" {
		u.User = url.UserPassword("", s.opts.Password)
	}
	return u.String()
}

// Process returns the running server process.
func (s *RedisServer) Process() *Process { return s.proc }

// Stop kills the server. It may be called more than once.
func (s *RedisServer) Stop() {
	if s.proc != nil {
		s.proc.Stop()
	}
}

// Pause stops the server with SIGSTOP, as [Process.Pause] describes.
func (s *RedisServer) Pause() { s.t.Helper(); s.proc.Pause() }

// Resume lets a paused server continue.
func (s *RedisServer) Resume() { s.t.Helper(); s.proc.Resume() }

// Do sends one command on a connection of its own and returns the answer: a
// string, an int64, a []any, or nil where Redis answers nil. An error fails the
// test.
func (s *RedisServer) Do(args ...any) any {
	s.t.Helper()
	v, err := s.try(args...)
	if err != nil {
		s.t.Fatalf("%s: %v", args[0], err)
	}
	return v
}

// Try is Do for a command that the server may refuse.
func (s *RedisServer) Try(args ...any) (answer any, ok bool) {
	v, err := s.try(args...)
	return v, err == nil
}

func (s *RedisServer) try(args ...any) (any, error) {
	return respDo(s.Addr(), s.opts.Password, args...)
}
