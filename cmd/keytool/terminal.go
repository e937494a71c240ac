package main

import (
	"os"
	"syscall"

	"golang.org/x/term"
)

// nonblock keeps opening a FIFO from waiting for a writer.
const nonblock = syscall.O_NONBLOCK

func terminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }
