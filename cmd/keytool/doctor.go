package main

import (
	"context"
	"crypto/fips140"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/cpu"

	"github.com/cachekit-io/cachekit-go/keys/keyfile"
	"github.com/cachekit-io/cachekit-go/secure"
)

// diagnosis is the result of doctor.
type diagnosis struct {
	OK     bool    `json:"ok"`
	Checks []check `json:"checks"`
}

// check is one line of it.
type check struct {
	Name   string `json:"name"`
	Status string `json:"status"` // ok, warning, failed
	Text   string `json:"text"`
}

func (a *app) doctor() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Say what a program would do in this environment",
		Long: text(`
			doctor resolves keys and backend from the environment as package secure does,
			makes one round trip to the backend, and looks at the clock, the processor's AES
			and the FIPS mode. It writes nothing. It ends with 2 if a program could not
			start here, with 3 if the backend does not answer.`),
		Example: "keytool doctor --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var d diagnosis
			end := d.environment(cmd.Context())
			d.machine()
			d.OK = end == nil
			var lines []string
			for _, c := range d.Checks {
				lines = append(lines, fmt.Sprintf("%-8s %-8s %s", c.Status, c.Name, c.Text))
			}
			if err := a.print(d, lines...); err != nil {
				return err
			}
			return end
		},
	}
}

const (
	statusOK      = "ok"
	statusWarning = "warning"
	statusFailed  = "failed"
)

func (d *diagnosis) add(name, status, format string, args ...any) {
	d.Checks = append(d.Checks, check{name, status, fmt.Sprintf(format, args...)})
}

// environment looks at keys and backend. The error says how doctor ends.
func (d *diagnosis) environment(ctx context.Context) (end error) {
	var opts secure.Options
	if _, set := os.LookupEnv(keyfile.EnvKeyring); set {
		opts.Keyring = keyfile.FromEnv(nil)
	}
	r, _ := secure.Resolve(&opts)
	if opts.Keyring != nil && r.Keys.Err == nil {
		_, r.Keys.Err = opts.Keyring.Keyring(ctx)
	}
	switch {
	case r.Keys.Err != nil:
		d.add("keys", statusFailed, "%v", r.Keys.Err)
		end = verdict(codeUsage)
	case opts.Keyring != nil:
		d.add("keys", statusOK, "the keyring file that %s names, for programs that pass keyfile.FromEnv as Options.Keyring", keyfile.EnvKeyring)
	default:
		d.add("keys", statusOK, "%v", r.Keys)
	}
	switch table, err := dynamoTable(); {
	case err != nil:
		d.add("backend", statusFailed, "%v", err)
		return verdict(codeUsage)
	case table != "":
		d.add("backend", statusOK, "the DynamoDB table that %s names, for programs that pass it as Options.Backend", envDynamoTable)
	case r.Backend.Err != nil:
		d.add("backend", statusFailed, "%v", r.Backend.Err)
		return verdict(codeUsage)
	default:
		d.add("backend", statusOK, "%v", r.Backend)
	}
	if !d.health(ctx) && end == nil {
		end = verdict(codeBackend)
	}
	return end
}

// health makes one round trip.
func (d *diagnosis) health(ctx context.Context) bool {
	b, err := openBackend(ctx)
	if err != nil {
		d.add("health", statusFailed, "%v", err)
		return false
	}
	defer b.Close()
	h := b.Health(ctx)
	if !h.OK {
		d.add("health", statusFailed, "%s: %v", h.BackendType, h.Err)
		return false
	}
	text := fmt.Sprintf("%s answered in %v", h.BackendType, h.Latency.Round(time.Microsecond))
	for _, name := range slices.Sorted(maps.Keys(h.Details)) {
		text += fmt.Sprintf(", %s %s", name, h.Details[name])
	}
	d.add("health", statusOK, "%s", text)
	return true
}

// machine looks at what sealing depends on.
func (d *diagnosis) machine() {
	if built := buildTime(); time.Now().Before(built) {
		d.add("clock", statusWarning, "it says %s, before this tool was built: TTLs and rotation steps will be wrong", now().Format(time.RFC3339))
	} else {
		d.add("clock", statusOK, "%s", now().Format(time.RFC3339))
	}
	if hardwareAES() {
		d.add("aes", statusOK, "%s has AES and carry-less multiplication", runtime.GOARCH)
	} else {
		d.add("aes", statusWarning, "%s without AES instructions: sealing is slow, and safe against timing only as far as Go's software AES is", runtime.GOARCH)
	}
	switch {
	case fips140.Enforced():
		d.add("fips", statusOK, "FIPS 140-only mode: every nonce is drawn afresh")
	case fips140.Enabled():
		d.add("fips", statusOK, "FIPS 140 mode")
	default:
		d.add("fips", statusOK, "off")
	}
}

// hardwareAES reports whether crypto/aes uses instructions of the processor for
// GCM.
func hardwareAES() bool {
	switch runtime.GOARCH {
	case "amd64":
		return cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ
	case "arm64":
		return cpu.ARM64.HasAES && cpu.ARM64.HasPMULL
	case "s390x":
		return cpu.S390X.HasAES && cpu.S390X.HasAESGCM
	}
	return runtime.GOARCH == "ppc64le"
}
