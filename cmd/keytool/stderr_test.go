//go:build linux

package main

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// Rule: standard error holds keytool's own lines. What libraries log of a server
// that is away (go-redis: every failed dial, with its address) is not for it.
func TestOnlyOwnLinesOnStandardError(t *testing.T) {
	dir := t.TempDir()
	env := []string{
		"CACHEKIT_MASTER_KEY=" + strings.Repeat("5a", 32),
		fmt.Sprintf("CACHEKIT_REDIS_URL=redis://127.0.0.1:%d", testenv.FreePorts(t, 1)[0]),
	}
	for _, line := range []string{"doctor", "audit", "reencrypt", "reencrypt --apply", "inspect users:1"} {
		for _, flag := range []string{"", " --json", " --quiet"} {
			out, errs, exit := tool(t, dir, env, strings.Fields(line+flag)...)
			if exit != 3 || !strings.Contains(out+errs, "refused") {
				t.Errorf("keytool %s ends with %d and says\n%s%s", line+flag, exit, out, errs)
			}
			for own := range strings.Lines(errs) {
				if !strings.HasPrefix(own, "keytool: ") {
					t.Errorf("keytool %s prints on standard error: %s", line+flag, own)
				}
			}
		}
	}
}

// What libraries hand to the standard logger (net/http does) goes nowhere either.
func TestStandardLoggerIsSilent(t *testing.T) {
	if os.Getenv("KEYTOOL_TEST_LOG") != "" {
		silence()
		log.Print("from a library")
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestStandardLoggerIsSilent$")
	cmd.Env = append(os.Environ(), "KEYTOOL_TEST_LOG=1")
	if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "library") {
		t.Errorf("%v: %s", err, out)
	}
}
