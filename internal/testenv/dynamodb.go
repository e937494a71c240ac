package testenv

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// dynamoFiles are the list of what DynamoDB Local needs and its launcher.
//
//go:embed dynamodb
var dynamoFiles embed.FS

// DynamoServer is a DynamoDB Local that keeps its tables in memory and accepts
// any credentials. Its methods are for one goroutine at a time.
type DynamoServer struct {
	proc *Process
	addr string
}

// DynamoDB starts a DynamoDB Local, waits until it listens and stops it when the
// test ends. The first use downloads it (50 MB) from Maven Central into .cache.
func DynamoDB(t testing.TB) *DynamoServer {
	t.Helper()
	dir := dynamoLocal(t)
	cmd := exec.Command("nice", "-n", "5", RequireTool(t, "java"), "-Xmx768m", "-XX:+UseSerialGC", "-Djava.library.path=lib",
		"-cp", "lib/*"+string(os.PathListSeparator)+"classes", "Loopback", "-inMemory", "-sharedDb", "-disableTelemetry", "-port", "8000")
	cmd.Dir = dir
	s := &DynamoServer{proc: Start(t, cmd)}
	listening := regexp.MustCompile(`(?m)^listening on port (\d+)\n`)
	up := poll(3*startLimit, func() bool {
		log, _ := os.ReadFile(s.proc.log)
		if m := listening.FindSubmatch(log); m != nil {
			s.addr = "127.0.0.1:" + string(m[1])
		}
		return s.addr != "" || s.proc.Exited()
	})
	if !up || s.addr == "" {
		t.Fatalf("DynamoDB Local does not start; its log ends with:\n%s", s.proc.Log())
	}
	return s
}

// Addr returns host:port.
func (s *DynamoServer) Addr() string { return s.addr }

// URL returns the endpoint.
func (s *DynamoServer) URL() string { return "http://" + s.addr }

// dynamoLocal returns the directory that holds DynamoDB Local and its launcher.
// An install is made aside and renamed, so that test binaries that run at once
// never see a half of one.
func dynamoLocal(t testing.TB) string {
	t.Helper()
	mvn, javac := RequireTool(t, "mvn"), RequireTool(t, "javac")
	sum := sha256.New()
	for _, name := range []string{"pom.xml", "Loopback.java"} {
		text, err := dynamoFiles.ReadFile("dynamodb/" + name)
		if err != nil {
			t.Fatal(err)
		}
		sum.Write(text)
	}
	cache := filepath.Join(ModuleRoot(t), ".cache")
	dir := filepath.Join(cache, "dynamodb-"+hex.EncodeToString(sum.Sum(nil)[:6]))
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	aside, err := os.MkdirTemp(cache, "dynamodb-new-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(aside)
	if err := installDynamo(aside, mvn, javac); err != nil {
		Missing(t, "DynamoDB Local cannot be installed: "+err.Error())
	}
	if err := os.Rename(aside, dir); err != nil {
		if _, serr := os.Stat(dir); serr != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func installDynamo(dir, mvn, javac string) error {
	files, err := fs.Sub(dynamoFiles, "dynamodb")
	if err != nil {
		return err
	}
	if err := os.CopyFS(dir, files); err != nil {
		return err
	}
	for _, args := range [][]string{
		{mvn, "--batch-mode", "--quiet", "--strict-checksums", "org.apache.maven.plugins:maven-dependency-plugin:3.6.0:copy-dependencies", "-DoutputDirectory=lib"},
		{javac, "-cp", "lib/*", "-d", "classes", "Loopback.java"},
	} {
		cmd := exec.Command("nice", append([]string{"-n", "10"}, args...)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(args[0]), errors.Join(err, errors.New(firstLine(out))))
		}
	}
	return nil
}

func firstLine(out []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line
}
