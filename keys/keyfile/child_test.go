//go:build linux

package keyfile_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/keys/keyfile"
)

const (
	childJob = "KEYFILE_TEST_JOB"
	childDir = "KEYFILE_TEST_DIR"
)

// jobs are what a child process of a test does in a directory.
var jobs = map[string]func(dir string) error{
	"read-only directory":  readOnlyDirectory,
	"fill the disk":        fillDisk,
	"grow too large":       growTooLarge,
	"rotate for ever":      rotateForEver,
	"create for ever":      createForEver,
	"write for tink":       writeForTink, // of internal/tinkcompat
	"read a mount of root": readMountOfRoot,
}

func TestMain(m *testing.M) {
	if job, ok := jobs[os.Getenv(childJob)]; ok {
		if err := job(os.Getenv(childDir)); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func command(job, dir string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childJob+"="+job, childDir+"="+dir)
	return cmd
}

// child runs a job to its end.
func child(t *testing.T, job, dir string, change func(*exec.Cmd)) (string, error) {
	t.Helper()
	cmd := command(job, dir)
	if change != nil {
		change(cmd)
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// asNobody runs the child as a user without rights, from a copy of the test
// binary that this user may execute.
func asNobody(cmd *exec.Cmd) {
	cmd.Dir = "/"
	cmd.Path = "/proc/self/exe"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534, NoSetGroups: true}}
}

// Rule: a full disk fails the write with what the system says; the old file and
// nothing else is there. The child mounts a tiny file system that only it sees.
func TestFullDisk(t *testing.T) {
	out, err := child(t, "fill the disk", t.TempDir(), func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
		if os.Geteuid() != 0 {
			cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		}
	})
	if errors.Is(err, syscall.EPERM) || strings.Contains(out, "no mount") {
		t.Log("this machine lets no test mount: TestFileTooLarge covers the same path")
		return
	}
	if err != nil {
		t.Errorf("%v %s", err, out)
	}
}

func fillDisk(dir string) error {
	if err := errors.Join(
		syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""),
		syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16k,mode=0700"),
	); err != nil {
		fmt.Println("no mount")
		return nil
	}
	return overfill(dir, syscall.ENOSPC)
}

// Rule: the same for a file that may not grow as large as it has to.
func TestFileTooLarge(t *testing.T) {
	if out, err := child(t, "grow too large", t.TempDir(), nil); err != nil {
		t.Errorf("%v %s", err, out)
	}
}

func growTooLarge(dir string) error {
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 8000, Max: 8000}); err != nil {
		return err
	}
	return overfill(dir, syscall.EFBIG)
}

func overfill(dir string, number syscall.Errno) error {
	path := filepath.Join(dir, "ring")
	if err := keyfile.Create(ctx, path, clearly, fresh()); err != nil {
		return err
	}
	before, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	grow := func(d *keyfile.Document) error {
		for range 40 {
			id, err := d.Stage(keys.Generate(), strings.Repeat("x", 256), day)
			if err := errors.Join(err, d.Retire(id, day)); err != nil {
				return err
			}
		}
		return nil
	}
	large := fresh()
	if err := grow(large); err != nil {
		return err
	}
	if err := keyfile.Update(ctx, path, clearly, grow); !errors.Is(err, number) {
		return fmt.Errorf("update: %v, want %v", err, number)
	}
	if err := keyfile.Create(ctx, path+"2", clearly, large); !errors.Is(err, number) {
		return fmt.Errorf("create: %v, want %v", err, number)
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) {
		return fmt.Errorf("the old file has changed (%v)", err)
	}
	found, err := os.ReadDir(dir)
	if err != nil || len(found) != 3 { // the file and two lock files
		return fmt.Errorf("the directory has %v (%v)", found, err)
	}
	return keyfile.Update(ctx, path, clearly, nothing)
}

// rotateForEver stages, promotes, retires and destroys until it is killed.
func rotateForEver(dir string) error {
	path := filepath.Join(dir, "ring")
	for i := 0; ; i++ {
		err := keyfile.Update(ctx, path, clearly, func(d *keyfile.Document) error {
			return oneStep(d)
		})
		if err != nil {
			return err
		}
	}
}

// oneStep does the next thing that can be done, from the last key backwards.
func oneStep(d *keyfile.Document) error {
	all := d.Keys()
	if len(all) > 200 {
		return errors.New("enough")
	}
	for _, k := range all {
		switch k.Role {
		case keyfile.Retired:
			return d.Destroy(k.ID, day)
		case keyfile.Demoted:
			return d.Retire(k.ID, day)
		case keyfile.Staged:
			return d.Promote(k.ID, day)
		}
	}
	_, err := d.Stage(keys.Generate(), "", day)
	return err
}

func createForEver(dir string) error {
	for i := 0; ; i++ {
		path := filepath.Join(dir, fmt.Sprint("ring", i))
		if err := keyfile.Create(ctx, path, clearly, fresh()); err != nil {
			return err
		}
	}
}

// kills is how many writers are killed; more with KEYFILE_KILLS in the
// environment.
func kills() int {
	n := 25
	if text := os.Getenv("KEYFILE_KILLS"); text != "" {
		fmt.Sscan(text, &n)
	}
	return n
}

// Rule: kill -9 at any point of a write leaves the old file or the new one,
// whole; generations never go back; and the next writer goes on from there.
func TestKilledWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ring")
	if err := keyfile.Create(ctx, path, clearly, fresh()); err != nil {
		t.Fatal(err)
	}
	last, leftovers := uint64(1), 0
	for range kills() {
		killLater(t, command("rotate for ever", filepath.Dir(path)))
		d, err := keyfile.Read(ctx, path, clearly, nil)
		if err != nil {
			t.Fatalf("after generation %d: %v", last, err)
		}
		if d.Generation() < last {
			t.Fatalf("generation %d after %d", d.Generation(), last)
		}
		last = d.Generation()
		leftovers += len(names(t, path)) - 2
		if len(d.Keys()) > 150 {
			os.Remove(path)
			if err := keyfile.Create(ctx, path, clearly, fresh()); err != nil {
				t.Fatal(err)
			}
			last = 1
		}
	}
	if err := keyfile.Update(ctx, path, clearly, nothing); err != nil {
		t.Fatal(err)
	}
	if got := names(t, path); len(got) != 2 {
		t.Errorf("the directory has %v", got)
	}
	t.Logf("%d kills, %d of them in the middle of a write, up to generation %d", kills(), leftovers, last)
	if last < 3 {
		t.Error("the writers wrote nothing before they were killed: this test saw too little")
	}
}

func TestKilledCreators(t *testing.T) {
	files := 0
	for range kills() {
		dir := t.TempDir()
		killLater(t, command("create for ever", dir))
		for _, e := range must(os.ReadDir(dir))(t) {
			if strings.HasPrefix(e.Name(), ".") {
				continue
			}
			files++
			if _, err := keyfile.Read(ctx, filepath.Join(dir, e.Name()), clearly, nil); err != nil {
				t.Errorf("%s: %v", e.Name(), err)
			}
		}
	}
	if files == 0 {
		t.Error("no file was created: this test saw nothing")
	}
}

// killLater starts cmd and kills it at a random moment of its work.
func killLater(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20*time.Millisecond + rand.N(80*time.Millisecond))
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if out.Len() > 0 {
		t.Errorf("the writer failed by itself: %s", &out)
	}
}

// writeForTink leaves a cleartext file with a key of each role that has bytes,
// and beside it those keys in hex by their roles.
func writeForTink(dir string) error {
	d := fresh()
	for range 3 {
		id, err := d.Stage(keys.Generate(), "", day)
		if err != nil {
			return err
		}
		if len(d.Keys()) == 4 {
			break
		}
		if err := d.Promote(id, day); err != nil {
			return err
		}
	}
	if err := d.Retire(d.Keys()[0].ID, day); err != nil {
		return err
	}
	byRole := map[string]string{}
	for _, k := range d.Keys() {
		m, err := d.MasterKey(k.ID)
		if err != nil {
			return err
		}
		byRole[k.Role.String()] = m.RevealHex()
	}
	text, err := json.Marshal(byRole)
	return errors.Join(err, os.WriteFile(filepath.Join(dir, "keys"), text, 0o600), keyfile.Create(ctx, filepath.Join(dir, "ring"), clearly, d))
}
