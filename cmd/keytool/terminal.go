package main

import (
	"context"
	"errors"
	"os"
	"syscall"

	"golang.org/x/term"
)

// nonblock keeps opening a FIFO from waiting for a writer.
const nonblock = syscall.O_NONBLOCK

func terminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// readHidden reads a line from the controlling terminal with its echo off,
// whatever standard input is. The echo is on again when it returns, also
// because ctx has ended.
func readHidden(ctx context.Context, before, after func()) (string, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer tty.Close()
	fd := int(tty.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	before()
	defer after()
	type line struct {
		text []byte
		err  error
	}
	read := make(chan line, 1)
	go func() {
		text, err := term.ReadPassword(fd)
		read <- line{text, err}
	}()
	select {
	case l := <-read:
		defer clear(l.text)
		return string(l.text), l.err
	case <-ctx.Done():
		return "", errors.Join(ctx.Err(), term.Restore(fd, state))
	}
}
