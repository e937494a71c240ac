// Package testenv starts the real servers that the tests of this module use,
// and breaks the network between them and the code under test.
//
// Every server is a child process on a free port of 127.0.0.1 with a temporary
// directory of its own. It is stopped by its own process id when the test ends,
// and dies with the test binary on Linux (PR_SET_PDEATHSIG). A server that does
// not start fails the test with the end of its log.
//
// A tool that is not installed skips the test with one line, and fails it where
// the environment has CI=true: in CI nothing skips. `make test` installs the
// tools where it can.
package testenv
