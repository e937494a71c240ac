// Command keytool makes, rotates and checks the keys of a CacheKit fleet, and
// walks, re-seals and inspects the entries that they seal.
//
// Secrets are read from files, standard input or the environment, never from an
// argument, and are never printed but by "generate" and "keyring export", whose
// purpose it is. Results go to standard output, everything else to standard
// error. Every command takes --json; docs/keytool.md has the shapes and the
// exit codes.
package main

import (
	"context"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/redis/go-redis/v9/logging"
)

func main() {
	silence()
	os.Exit(int(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)))
}

// silence keeps what libraries say (go-redis of every failed dial, net/http) off
// standard error: it holds this tool's lines alone, which tell of the failure
// too. Only a program may do that; package secure leaves global loggers alone.
func silence() {
	log.SetOutput(io.Discard)
	logging.Disable()
}

// run executes one command line. The first SIGINT or SIGTERM lets the command
// finish what it has in hand, the second ends the process.
func run(args []string, in, out, errs *os.File) code {
	signal.Ignore(syscall.SIGPIPE) // a reader that leaves early does not change the verdict
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return newApp(in, out, errs).run(ctx, args)
}
