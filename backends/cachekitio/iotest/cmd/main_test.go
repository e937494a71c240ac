package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"flag"
	"io"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cachekit-io/cachekit-go/backends/cachekitio"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestServe follows what the program prints, as a user does, and then ends it.
func TestServe(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, []string{"-class", "live"}, w, io.Discard) }()
	env := map[string]string{}
	for lines := bufio.NewScanner(r); len(env) < 3 && lines.Scan(); {
		if set, ok := strings.CutPrefix(lines.Text(), "export "); ok {
			name, value, _ := strings.Cut(set, "=")
			value, _, _ = strings.Cut(value, " #")
			env[name] = value
		}
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()

	b, err := cachekitio.Open(t.Context(), options(t, env))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Set(t.Context(), "k", []byte("v"), time.Minute); err != nil {
		t.Fatal(err)
	}
	if v, err := b.Get(t.Context(), "k"); string(v) != "v" || err != nil {
		t.Errorf("got %q, %v", v, err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	_ = r.Close()
	if _, err := os.Stat(env["SSL_CERT_FILE"]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the certificate is left behind: %v", err)
	}
}

// options is what the printed text says; only SSL_CERT_FILE, which Go reads once
// per process, is read here.
func options(t *testing.T, env map[string]string) *cachekitio.Options {
	t.Helper()
	t.Setenv("CACHEKIT_API_KEY", env["CACHEKIT_API_KEY"])
	opts, err := cachekitio.FromEnv()
	if err != nil {
		t.Fatal(err)
	}
	if opts.APIKey.Class() != cachekitio.Legacy {
		t.Error("the key is not of the class that was asked for")
	}
	if opts.Proxy, err = url.Parse(env["HTTPS_PROXY"]); err != nil {
		t.Fatal(err)
	}
	root, err := os.ReadFile(env["SSL_CERT_FILE"])
	if err != nil {
		t.Fatal(err)
	}
	opts.RootCAs = x509.NewCertPool()
	opts.RootCAs.AppendCertsFromPEM(root)
	return opts
}

func TestRefusals(t *testing.T) {
	for _, args := range [][]string{{"-class", "root"}, {"-addr", "0.0.0.0:0"}, {"-addr", "nonsense"}, {"extra"}, {"-unknown"}, {"-h"}} {
		var out, usage bytes.Buffer
		err := run(t.Context(), args, &out, &usage)
		if err == nil || out.Len() > 0 || (args[0] == "-h") != errors.Is(err, flag.ErrHelp) {
			t.Errorf("%v: %v, output %q", args, err, out.String())
		}
	}
}
