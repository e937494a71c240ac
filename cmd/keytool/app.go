package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// code is an exit code of keytool.
type code int

// Exit codes, documented in docs/keytool.md.
const (
	codeOK      code = 0 // done, or a positive verdict
	codeVerdict code = 1 // a negative verdict: mismatch, entries left under an old key
	codeUsage   code = 2 // usage, configuration or a local file
	codeBackend code = 3 // the backend or another remote service failed
	codePartial code = 4 // done in part; the output says what is left
)

// failure is an error with the exit code it ends in.
type failure struct {
	code code
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func fail(c code, format string, args ...any) error {
	return &failure{c, fmt.Errorf(format, args...)}
}

// codeOf is codeUsage for errors that no command classified: flags, arguments.
func codeOf(err error) code {
	var f *failure
	switch {
	case err == nil:
		return codeOK
	case errors.As(err, &f):
		return f.code
	}
	return codeUsage
}

// app is what the commands share.
type app struct {
	in    *os.File
	out   *results
	errs  io.Writer
	json  bool
	quiet bool
	// piped is set when standard input has been given a use, of which it has one.
	piped bool
	// command is the path of the command that runs, without the tool's name.
	command string
}

func newApp(in, out, errs *os.File) *app {
	return &app{in: in, out: &results{f: out}, errs: errs}
}

// run executes args and reports what went wrong.
func (a *app) run(ctx context.Context, args []string) code {
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.errs)
	err := root.ExecuteContext(ctx)
	a.json = a.json || slices.Contains(args, "--json") // a flag before it may be the error
	if err == nil {
		err = a.out.failed()
	}
	if err == nil {
		return codeOK
	}
	a.report(err)
	return codeOf(err)
}

// report tells of err on standard error, and with --json on standard output too
// if no result has been printed.
func (a *app) report(err error) {
	var said *silent
	if errors.As(err, &said) {
		return
	}
	fmt.Fprintf(a.errs, "keytool: %v\n", err)
	if a.json && !a.out.used {
		a.printJSON(document{Error: &problem{Message: err.Error(), Exit: int(codeOf(err))}})
	}
}

// silent is an error about which the result has said everything.
type silent struct{}

func (*silent) Error() string { return "see the result" }

// verdict ends a command whose result says itself what is wrong.
func verdict(c code) error { return &failure{c, new(silent)} }

// root builds the tree of commands.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "keytool",
		Short: "Make, rotate and check the keys of a CacheKit fleet",
		Long: text(`
			keytool makes master keys, keeps them in keyring files, drives their rotation on
			a live fleet, and walks, re-seals and inspects the entries that they seal.

			Secrets come from files, standard input or the environment, never from an
			argument. Results go to standard output, everything else to standard error.

			Exit codes: 0 done; 1 negative verdict; 2 usage, configuration or local file;
			3 backend or remote service; 4 done in part.`),
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			a.command = strings.TrimPrefix(cmd.CommandPath(), "keytool ")
			return nil
		},
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprintln(a.errs, cmd.Long+"\n\n"+cmd.UsageString())
			return fail(codeUsage, "a command is needed, one of those above")
		},
	}
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print one JSON document as the result")
	root.PersistentFlags().BoolVarP(&a.quiet, "quiet", "q", false, "print results and errors only")
	root.AddCommand(a.generate(), a.fingerprint(), a.keyringGroup(), a.rotate(), a.audit(), a.reencrypt(), a.inspect(), a.doctor(), a.vectors(), a.version())
	return root
}

// group is a command that only holds others.
func group(use, short, long string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Long: text(long), Args: cobra.NoArgs}
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		return fail(codeUsage, "%q needs a subcommand: see %q", cmd.CommandPath(), cmd.CommandPath()+" --help")
	}
	c.AddCommand(commands...)
	return c
}

// stdin gives standard input to the one flag that has asked for it.
func (a *app) stdin() (*os.File, error) {
	if a.piped {
		return nil, fail(codeUsage, "two flags ask for standard input: name a file for one of them")
	}
	a.piped = true
	return a.in, nil
}

// noArgs refuses arguments and does not repeat them: one may be a key.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fail(codeUsage, "%q takes no arguments: secrets come from files, standard input or the environment", cmd.CommandPath())
	}
	return nil
}

// note prints a line for the person at the terminal.
func (a *app) note(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.errs, "keytool: "+format+"\n", args...)
	}
}

// results is standard output. It remembers the first failure to write, so that
// a full disk is noticed and a reader that left early is not.
type results struct {
	f    *os.File
	used bool
	err  error
}

func (r *results) Write(p []byte) (int, error) {
	r.used = true
	if r.err != nil {
		return len(p), nil
	}
	n, err := r.f.Write(p)
	r.err = err
	return n, err
}

func (r *results) failed() error {
	if r.err == nil || errors.Is(r.err, syscall.EPIPE) {
		return nil
	}
	return fail(codeUsage, "cannot write the result: %w", r.err)
}
