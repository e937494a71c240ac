//go:build linux

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/cachekit-io/cachekit-go/internal/testenv"
	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/keys/keyfile"
	"github.com/cachekit-io/cachekit-go/secure"
)

// leaves are the commands below c that do something.
func leaves(c *cobra.Command) (all []*cobra.Command) {
	for _, sub := range c.Commands() {
		all = append(all, leaves(sub)...)
	}
	if len(all) == 0 {
		all = append(all, c)
	}
	return all
}

// place is what an example finds: files, a storage and a ring in a stage of its
// life.
type place struct {
	dir string
	env []string
}

// The examples of each command's help do what they say, as they stand there: a
// shell runs the lines of one command, one after the other.
func TestExamples(t *testing.T) {
	server := testenv.Redis(t, nil)
	seen := 0
	for _, c := range leaves(newApp(os.Stdin, os.Stdout, os.Stderr).root()) {
		if c.Example == "" {
			t.Errorf("%s has no example", c.CommandPath())
			continue
		}
		for block := range strings.SplitSeq(c.Example, "\n\n") {
			seen++
			t.Run(c.CommandPath(), func(t *testing.T) {
				server.Do("FLUSHALL")
				p := newPlace(t, server.URL(), block)
				cmd := exec.Command("sh", "-euc", block)
				cmd.Dir, cmd.Env = p.dir, p.env
				var out bytes.Buffer
				cmd.Stdout, cmd.Stderr = &out, &out
				if err := cmd.Run(); err != nil {
					t.Errorf("%v\n%s\n%s", err, block, &out)
				}
			})
		}
	}
	if seen < 15 {
		t.Errorf("%d examples were run", seen)
	}
}

// The times in the examples, and the life that the ring has had by then.
var (
	exampleStaged   = time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)
	examplePromoted = time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)
)

func newPlace(t *testing.T, redis, block string) place {
	t.Helper()
	dir := t.TempDir()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	current := strings.Repeat("c", 64)
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("pass.txt", "correct horse battery staple")
	write("ops.agekey", id.String())
	write("keys.txt", "users:42")
	env := []string{"PATH=" + filepath.Dir(buildTool(t)) + ":" + os.Getenv("PATH"), "HOME=" + dir, "CACHEKIT_REDIS_URL=" + redis, "RECIPIENT=" + id.Recipient().String()}
	if !strings.Contains(block, "-o master.key") {
		write("master.key", current)
	}
	if err := os.Symlink(filepath.Join(testenv.ModuleRoot(t), "testvectors"), filepath.Join(dir, "testvectors")); err != nil {
		t.Fatal(err)
	}
	ring := strings.Contains(block, "keyring ") || strings.Contains(block, "rotate") || strings.Contains(block, "keytool audit")
	switch {
	case strings.Contains(block, "keyring init"):
	case strings.Contains(block, "keyring import"):
		env = append(env, "CACHEKIT_MASTER_KEY="+current)
	case ring:
		env = append(env, ringOf(t, dir, block, current)...)
	default:
		env = append(env, "CACHEKIT_MASTER_KEY="+current)
	}
	stock(t, redis, current)
	return place{dir, env}
}

// ringOf makes ring.json in the stage that the block is about.
func ringOf(t *testing.T, dir, block, current string) []string {
	t.Helper()
	key, err := keys.Hex(current)
	if err != nil {
		t.Fatal(err)
	}
	old, err := keys.NewKeyring(keys.Generate())
	if err != nil {
		t.Fatal(err)
	}
	d, err := keyfile.NewDocument(old, "", exampleStaged.AddDate(-1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	oldID, newID := d.Keys()[0].ID, ""
	step := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(block, "stage") || strings.Contains(block, "keytool audit") {
		newID, err = d.Stage(key, "", exampleStaged)
		step(err)
	}
	if newID != "" && !strings.Contains(block, "promote") {
		step(d.Promote(newID, examplePromoted))
	}
	if strings.Contains(block, "destroy") {
		step(d.Retire(oldID, examplePromoted.AddDate(0, 0, 3)))
	}
	p, err := keyfile.Passphrase([]byte("correct horse battery staple"))
	step(err)
	step(keyfile.Create(t.Context(), filepath.Join(dir, "ring.json"), p, d))
	return []string{"CACHEKIT_KEYRING=ring.json", "CACHEKIT_KEYRING_PASSPHRASE_FILE=pass.txt", "OLD=" + oldID, "NEW=" + newID}
}

// stock writes the entries that the examples name, under key.
func stock(t *testing.T, redis, key string) {
	t.Helper()
	t.Setenv("CACHEKIT_REDIS_URL", redis)
	b, err := openBackend(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	k, err := keys.Hex(key)
	if err != nil {
		t.Fatal(err)
	}
	for namespace, tenant := range map[string]string{"users": "", "accounts": "acme", "orders": "globex"} {
		c, err := secure.New(t.Context(), &secure.Options{Backend: b, MasterKey: k, Namespace: namespace, Tenant: tenant})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"42", "get_user:61598716255080080f6456eb"} {
			if err := c.Set(t.Context(), name, "x"); err != nil {
				t.Fatal(err)
			}
		}
		c.Close()
	}
}
