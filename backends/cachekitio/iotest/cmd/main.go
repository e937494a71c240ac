// Command cmd serves CachekitIO for tests on loopback, with nothing in it, until it
// is interrupted:
//
//	go run ./backends/cachekitio/iotest/cmd
//
// It prints how to point a client at it, as lines for a shell: clients go on
// speaking to https://api.cachekit.io and find it through a proxy and a root
// certificate, so that no rule of theirs about addresses has to be switched off.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/cachekit-io/cachekit-go/backends/cachekitio"
	"github.com/cachekit-io/cachekit-go/backends/cachekitio/iotest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// classes are the values of -class.
var classes = map[string]cachekitio.Class{"sdk": cachekitio.SDK, "api": cachekitio.Direct, "live": cachekitio.Legacy}

// run serves until ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("iotest", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addr := flags.String("addr", "127.0.0.1:0", "loopback `address` to listen on")
	class := flags.String("class", "sdk", "class of the API key: sdk, api or live")
	tenant := flags.String("tenant", "default", "tenant of the API key")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || classes[*class] == 0 {
		return fmt.Errorf("iotest: -class is sdk, api or live, and there are no arguments")
	}
	s, err := iotest.Start(&iotest.Options{Addr: *addr})
	if err != nil {
		return err
	}
	defer s.Close()
	proxy, err := s.Proxy()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "iotest")
	if err != nil {
		return fmt.Errorf("iotest: %w", err)
	}
	defer os.RemoveAll(dir)
	root := filepath.Join(dir, "root.pem")
	if err := os.WriteFile(root, s.RootPEM(), 0o600); err != nil {
		return fmt.Errorf("iotest: %w", err)
	}
	if _, err := fmt.Fprintf(stdout, text, s.Addr(), s.NewKey(classes[*class], *tenant), root, proxy); err != nil {
		return fmt.Errorf("iotest: %w", err)
	}
	<-ctx.Done()
	return nil
}

const text = `# A CachekitIO server for tests on %s, until this program is interrupted.
export CACHEKIT_API_KEY=%s
export SSL_CERT_FILE=%s
export HTTPS_PROXY=%s # leads to api.cachekit.io alone: unset it for everything else

# cachekit-py needs no more. cachekit-rs reads SSL_CERT_FILE if the program's own
# Cargo.toml has reqwest 0.12 with the feature rustls-tls-native-roots.
# cachekit-go takes a proxy from nobody but its program:
#
#	opts, err := cachekitio.FromEnv()
#	opts.Proxy, err = url.Parse(os.Getenv("HTTPS_PROXY"))
#	cache, err := secure.NewIO(ctx, &secure.Options{CachekitIO: opts})
`
