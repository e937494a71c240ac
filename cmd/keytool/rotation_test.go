//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/cachekit-io/cachekit-go/internal/testenv"
	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/keys/keyfile"
)

// site is a Redis and a keyring file, and what the tool needs to know of them.
type site struct {
	t    *testing.T
	dir  string
	env  []string
	url  string
	open *keyfile.Protection
}

func newSite(t *testing.T) *site {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, dir: t.TempDir(), url: testenv.Redis(t, nil).URL()}
	if err := os.WriteFile(filepath.Join(s.dir, "ops.agekey"), []byte(id.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if s.open, err = keyfile.Age([]byte(id.String())); err != nil {
		t.Fatal(err)
	}
	s.env = []string{
		"CACHEKIT_KEYRING=" + s.path(), "CACHEKIT_KEYRING_IDENTITY_FILE=" + filepath.Join(s.dir, "ops.agekey"),
		"CACHEKIT_REDIS_URL=" + s.url,
	}
	s.tool("keyring", "init")
	return s
}

func (s *site) path() string { return filepath.Join(s.dir, "ring.json") }

// tool runs the built tool, which must succeed.
func (s *site) tool(args ...string) string {
	s.t.Helper()
	return must(s.t, s.dir, s.env, args...)
}

// audit keeps the result of an audit, which must find nothing wrong.
func (s *site) audit() (file string) {
	s.t.Helper()
	file = filepath.Join(s.dir, "audit.json")
	if err := os.WriteFile(file, []byte(s.tool("audit", "--json")), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return file
}

// current is the fingerprint of the current key.
func (s *site) current() string {
	s.t.Helper()
	return strings.Fields(s.tool("fingerprint"))[0]
}

// worker is a process of the fleet.
type worker struct {
	cmd *exec.Cmd
	mu  sync.Mutex
	now status
}

func (s *site) worker(job string, watch time.Duration) *worker {
	s.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	w := &worker{cmd: exec.Command(exe)}
	w.cmd.Env = append(os.Environ(), append(s.env, workerJob+"="+job, workerWatch+"="+watch.String())...)
	w.cmd.Stderr = os.Stderr
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			w.mu.Lock()
			_ = json.Unmarshal(lines.Bytes(), &w.now)
			w.mu.Unlock()
		}
	}()
	s.t.Cleanup(func() {
		_ = w.cmd.Process.Kill()
		<-done
		_ = w.cmd.Wait()
	})
	return w
}

func (w *worker) status() status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// fleet of two writers and two readers, one of which looks at the file seldom.
func (s *site) fleet() (all []*worker) {
	for i, job := range []string{"write", "write", "read", "read"} {
		watch := 100 * time.Millisecond
		if i == 3 {
			watch = 700 * time.Millisecond
		}
		all = append(all, s.worker(job, watch))
	}
	s.wait(all, "work under load", func(st status) bool { return st.Reads+st.Writes > 100 })
	return all
}

func (s *site) wait(all []*worker, what string, cond func(status) bool) {
	s.t.Helper()
	testenv.Poll(s.t, 30*time.Second, what, func() bool {
		for _, w := range all {
			if !cond(w.status()) {
				return false
			}
		}
		return true
	})
}

// fillSite stores every entry under the current key.
func fillSite(t *testing.T, s *site) {
	t.Helper()
	c, op, err := openSite(t.Context(), s.url, keyfile.Open(s.path(), s.open, &keyfile.Options{Watch: -1}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range siteEntries {
		if err := op.Set(t.Context(), key(i), i); err != nil {
			t.Fatal(err)
		}
	}
}

// Rule: three phases, each deployed before the next, and a re-encryption: not one
// miss or error in any process, and old keys serve no read at the end.
func TestRotationUnderLoad(t *testing.T) {
	s := newSite(t)
	fillSite(t, s)
	all := s.fleet()
	s.tool("rotate", "--step", "stage")
	s.wait(all, "the staged key everywhere", func(st status) bool { return st.Reloads == 1 })
	s.tool("rotate", "--step", "promote", "--deployed-at", "now")
	fresh := s.current()
	s.wait(all, "the new key everywhere", func(st status) bool { return st.Reloads == 2 && st.Current == fresh })
	deployed := time.Now().UTC().Format(time.RFC3339Nano)
	s.tool("reencrypt", "--apply")
	var sum status
	for _, w := range all {
		drained := settled(t, w)
		if later := settled(t, w); later.Old != drained.Old {
			t.Errorf("old keys served %d reads after everything had been re-sealed", later.Old-drained.Old)
		}
		sum.Old += drained.Old
	}
	s.tool("rotate", "--step", "retire", "--deployed-at", deployed, "--max-ttl", "1h", "--audit", s.audit())
	s.wait(all, "the old key gone everywhere", func(st status) bool { return st.Reloads == 3 })
	for _, w := range all {
		st := settled(t, w)
		if st.Misses != 0 || st.Errors != 0 {
			t.Errorf("a worker had %d misses and %d errors, the first: %s", st.Misses, st.Errors, st.Error)
		}
		sum.Reads, sum.Writes = sum.Reads+st.Reads, sum.Writes+st.Writes
	}
	t.Logf("%d reads, %d writes; old keys served %d reads before the drain", sum.Reads, sum.Writes, sum.Old)
	if sum.Old == 0 {
		t.Error("no read was served by an old key: this test saw no rotation")
	}
}

// settled returns the status after at least a hundred more operations.
func settled(t *testing.T, w *worker) status {
	t.Helper()
	before := w.status()
	testenv.Poll(t, 30*time.Second, "more work", func() bool {
		now := w.status()
		return now.Reads+now.Writes > before.Reads+before.Writes+100
	})
	return w.status()
}

// The same fleet without the first phase: the rule above can be broken.
func TestSingleStepSwapFails(t *testing.T) {
	s := newSite(t)
	fillSite(t, s)
	all := s.fleet()
	if err := keyfile.Update(t.Context(), s.path(), s.open, func(d *keyfile.Document) error {
		id, err := d.Stage(keys.Generate(), "", time.Now())
		if err != nil {
			return err
		}
		return d.Promote(id, time.Now())
	}); err != nil {
		t.Fatal(err)
	}
	s.wait(all, "the new key everywhere", func(st status) bool { return st.Reloads == 1 })
	var failed uint64
	for _, w := range all {
		st := w.status()
		failed += st.Misses + st.Errors
	}
	t.Logf("a single-step swap: %d reads failed", failed)
	if failed == 0 {
		t.Error("nothing failed: TestRotationUnderLoad could not fail either")
	}
}
