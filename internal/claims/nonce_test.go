package claims_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/cachekit-io/cachekit-go/backends/filebackend"
	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/secure"
)

// sealInto names the directory that a copy of the test program writes entries to.
const sealInto = "CLAIMS_TEST_SEAL_INTO"

// Rule: processes that share a master key never use a nonce twice; the nonces
// are the first 12 bytes of what they stored, behind the file's header of 14.
func TestProcessesNeverShareANonce(t *testing.T) {
	if dir := os.Getenv(sealInto); dir != "" {
		sealMany(t, dir)
		return
	}
	exe, err := os.Executable()
	check(t, err)
	base, seen := t.TempDir(), map[string]string{}
	var children sync.WaitGroup
	for i := range processes {
		children.Go(func() {
			cmd := exec.Command(exe, "-test.run=^TestProcessesNeverShareANonce$")
			cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s/%d", sealInto, base, i))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	children.Wait()
	check(t, filepath.WalkDir(base, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || len(d.Name()) != 32 {
			return err
		}
		stored, err := os.ReadFile(path)
		if err != nil || len(stored) < 14+28 {
			t.Fatalf("%s: %d bytes, %v", path, len(stored), err)
		}
		nonce := string(stored[14:26])
		if other, twice := seen[nonce]; twice {
			t.Errorf("%s and %s have one nonce", path, other)
		}
		seen[nonce] = path
		return nil
	}))
	if len(seen) != processes*sealsEach {
		t.Errorf("%d nonces were found, want %d", len(seen), processes*sealsEach)
	}
}

const (
	processes = 6
	sealsEach = 500
)

func sealMany(t *testing.T, dir string) {
	b, err := filebackend.Open(dir, nil)
	check(t, err)
	defer b.Close()
	c, err := secure.New(t.Context(), &secure.Options{Backend: b, MasterKey: masterKey(t), NoL1: true})
	check(t, err)
	defer c.Close()
	for i := range sealsEach {
		check(t, c.Set(t.Context(), fmt.Sprint(i), i))
	}
}

func masterKey(t testing.TB) keys.MasterKey {
	t.Helper()
	k, err := keys.Raw([]byte(canary))
	check(t, err)
	return k
}
