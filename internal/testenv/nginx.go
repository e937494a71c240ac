package testenv

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// NginxOptions configures a server; nil is one that everybody may use.
type NginxOptions struct {
	// Authorization is what the header of that name must hold, "" for anything.
	Authorization string
	// MaxBody is the largest body in bytes that the server takes. Default no
	// limit.
	MaxBody int
	// Config holds further directives of the location, one a line.
	Config []string
}

// NginxServer is an nginx that keeps the bodies it is sent as files (its WebDAV
// module: GET, HEAD, PUT, DELETE), under http and, at another port, under https
// with HTTP/2. The file of a path of one segment is named like it, still
// percent-encoded. It is one process. Its methods are for one goroutine at a time.
type NginxServer struct {
	t       testing.TB
	opts    NginxOptions
	path    string
	dir     string
	port    int
	tlsPort int
	cert    string
	key     string
	tls     *tls.Config
	proc    *Process
}

// Nginx starts an nginx, waits until it answers and stops it when the test ends.
func Nginx(t testing.TB, opts *NginxOptions) *NginxServer {
	t.Helper()
	path, err := exec.LookPath("nginx")
	if err != nil {
		path = RequireTool(t, "/usr/sbin/nginx") // Debian; not in the path of every user
	}
	s := &NginxServer{t: t, path: path, dir: t.TempDir()}
	if opts != nil {
		s.opts = *opts
	}
	s.cert, s.key, s.tls = certificate(t, s.dir)
	for _, sub := range []string{"data", "tmp"} {
		if err := os.Mkdir(filepath.Join(s.dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(s.Stop)
	for range 5 {
		ports := FreePorts(t, 2)
		s.port, s.tlsPort = ports[0], ports[1]
		if err = s.start(); err == nil {
			return s
		}
	}
	t.Fatalf("start nginx: %v", err)
	return nil
}

func (s *NginxServer) start() error {
	conf := filepath.Join(s.dir, "nginx.conf")
	if err := os.WriteFile(conf, []byte(s.config()), 0o600); err != nil {
		return err
	}
	p, err := start(s.t, exec.Command(s.path, "-p", s.dir, "-c", conf, "-e", "stderr"), filepath.Join(s.dir, "log"))
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

// config keeps the temporary files on the file system of the data, so that a PUT
// ends in a rename. $request_uri is what the client sent: nginx decodes a path
// before it looks for a file, and a key with a slash would name a directory.
func (s *NginxServer) config() string {
	location := s.opts.Config
	if a := s.opts.Authorization; a != "" {
		location = append([]string{fmt.Sprintf("if ($http_authorization != %q) { return 401; }", a)}, location...)
	}
	return fmt.Sprintf(`
daemon off;
master_process off;
pid %[1]s/pid;
error_log stderr warn;
events { worker_connections 512; }
http {
	access_log off;
	default_type application/octet-stream;
	client_body_temp_path %[1]s/tmp;
	proxy_temp_path %[1]s/tmp;
	fastcgi_temp_path %[1]s/tmp;
	uwsgi_temp_path %[1]s/tmp;
	scgi_temp_path %[1]s/tmp;
	client_max_body_size %[2]d;
	map $request_uri $name { "~^/(?<encoded>[^/?]+)$" $encoded; default none; }
	server {
		listen 127.0.0.1:%[3]d;
		listen 127.0.0.1:%[4]d ssl http2;
		ssl_certificate %[5]s;
		ssl_certificate_key %[6]s;
		location ~ ^/ {
			alias %[1]s/data/$name;
			dav_methods PUT DELETE;
			%[7]s
		}
	}
}
`, s.dir, s.opts.MaxBody, s.port, s.tlsPort, s.cert, s.key, strings.Join(location, "\n"))
}

// answers reports whether our own process listens on both ports: the TLS port
// shows our certificate.
func (s *NginxServer) answers() bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := (&tls.Dialer{Config: s.tls}).DialContext(ctx, "tcp", s.TLSAddr())
	if err != nil {
		return false
	}
	_ = c.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, "http://"+s.Addr()+"/", nil)
	if err != nil {
		return false
	}
	tr := &http.Transport{DisableKeepAlives: true, Proxy: nil}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return strings.HasPrefix(resp.Header.Get("Server"), "nginx")
}

// Addr returns host:port for http.
func (s *NginxServer) Addr() string { return loopback(s.port) }

// TLSAddr returns host:port for https.
func (s *NginxServer) TLSAddr() string { return loopback(s.tlsPort) }

// TLSConfig returns a client configuration that trusts the server.
func (s *NginxServer) TLSConfig() *tls.Config { return s.tls.Clone() }

// Dir returns the directory of the files.
func (s *NginxServer) Dir() string { return filepath.Join(s.dir, "data") }

// Read returns the content of the file of an encoded segment, or nil if there is
// none.
func (s *NginxServer) Read(segment string) []byte {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.Dir(), segment))
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	return b
}

// Clear removes all files.
func (s *NginxServer) Clear() {
	s.t.Helper()
	names, err := filepath.Glob(filepath.Join(s.Dir(), "*"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, name := range names {
		if err := os.RemoveAll(name); err != nil {
			s.t.Fatal(err)
		}
	}
}

// Process returns the running server process.
func (s *NginxServer) Process() *Process { return s.proc }

// Start starts a stopped server again on its ports. Its files are still there.
func (s *NginxServer) Start() {
	s.t.Helper()
	var err error
	for range 5 {
		if err = s.start(); err == nil {
			return
		}
	}
	s.t.Fatalf("restart nginx: %v", err)
}

// Pause stops the server with SIGSTOP, as [Process.Pause] describes.
func (s *NginxServer) Pause() { s.t.Helper(); s.proc.Pause() }

// Resume lets a paused server continue.
func (s *NginxServer) Resume() { s.t.Helper(); s.proc.Resume() }

// Stop kills the server. It may be called more than once.
func (s *NginxServer) Stop() {
	if s.proc != nil {
		s.proc.Stop()
	}
}
