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
	"os"
	"os/signal"
	"syscall"
)

func main() {
	os.Exit(int(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)))
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
